//! Formulas: exact decimal arithmetic over the numbers of a document.
//!
//! Every operation is checked. Results keep 28 significant digits; only a division (or more digits
//! than that) ever rounds, half to even, in the last of them. So `$.amount/3*3` may fall short of
//! the amount by the 28th digit: multiply before you divide.

mod parse;

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

use crate::cause::{Cause, SkipReason};
use crate::decimal;
use crate::path::Path;

/// The length of a formula.
pub const FORMULA_BYTES_MAX: usize = 1_000;
/// Parentheses, calls and minus signs within each other.
pub const FORMULA_NESTING_MAX: usize = 64;

#[derive(Debug, Clone)]
pub(crate) struct Formula {
    text: Box<str>,
    root: Expr,
}

/// What is wrong with a formula and where, as a byte offset into its text.
#[derive(Debug)]
pub(crate) struct FormulaError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

#[derive(Debug, Clone)]
enum Expr {
    Number(Decimal),
    Path(Path),
    Negative(Box<Expr>),
    Binary(Operator, Box<[Expr; 2]>),
    Call(Function, Vec<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Sum,
    Count,
    Floor,
    Ceil,
    Round,
    Abs,
}

impl Formula {
    pub(crate) fn parse(text: &str) -> Result<Self, FormulaError> {
        Ok(Self { text: text.into(), root: parse::parse(text)? })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn value(&self, document: &Value) -> Result<Decimal, Cause> {
        self.root.value(document)
    }
}

impl Expr {
    fn value(&self, document: &Value) -> Result<Decimal, Cause> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Path(path) => single(path, document),
            Self::Negative(inner) => Ok(-inner.value(document)?),
            Self::Binary(operator, sides) => {
                let [left, right] = &**sides;
                operator.apply(left.value(document)?, right.value(document)?)
            }
            Self::Call(function, arguments) => function.apply(arguments, document),
        }
    }

    /// Every number that an argument stands for: all that a path selects, else the one value.
    fn each(
        &self,
        document: &Value,
        take: &mut impl FnMut(Decimal) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let Self::Path(path) = self else {
            return take(self.value(document)?);
        };
        let nodes = path.select(document);
        if path.is_singular() && nodes.as_slice().is_empty() {
            return Err(missing(path));
        }
        nodes.as_slice().iter().try_for_each(|node| take(number(path, node)?))
    }
}

impl Operator {
    fn apply(self, left: Decimal, right: Decimal) -> Result<Decimal, Cause> {
        let result = match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide if right.is_zero() => return Err(divided_by_zero(left)),
            Self::Divide => left.checked_div(right),
        };
        result.ok_or_else(|| too_large(self.symbol(), left, right))
    }

    fn symbol(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
        }
    }
}

impl Function {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Min, "min"),
        (Self::Max, "max"),
        (Self::Sum, "sum"),
        (Self::Count, "count"),
        (Self::Floor, "floor"),
        (Self::Ceil, "ceil"),
        (Self::Round, "round"),
        (Self::Abs, "abs"),
    ];

    fn takes_many(self) -> bool {
        matches!(self, Self::Min | Self::Max | Self::Sum)
    }

    fn apply(self, arguments: &[Expr], document: &Value) -> Result<Decimal, Cause> {
        match self {
            Self::Min => chosen(arguments, document, Decimal::min),
            Self::Max => chosen(arguments, document, Decimal::max),
            Self::Sum => sum(arguments, document),
            Self::Count => Ok(count(arguments, document)),
            Self::Floor => Ok(only(arguments, document)?.floor()),
            Self::Ceil => Ok(only(arguments, document)?.ceil()),
            Self::Round => Ok(half_up(only(arguments, document)?)),
            Self::Abs => Ok(only(arguments, document)?.abs()),
        }
    }
}

/// To whole numbers, a half away from zero: 2.5 becomes 3 and -2.5 becomes -3.
pub(crate) fn half_up(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero)
}

fn only(arguments: &[Expr], document: &Value) -> Result<Decimal, Cause> {
    match arguments {
        [argument] => argument.value(document),
        // The parser lets nothing else through.
        _ => Err(Cause::new(SkipReason::MissingValue, "a function lacks its argument".into())),
    }
}

fn chosen(
    arguments: &[Expr],
    document: &Value,
    choose: fn(Decimal, Decimal) -> Decimal,
) -> Result<Decimal, Cause> {
    let mut best: Option<Decimal> = None;
    for argument in arguments {
        argument.each(document, &mut |value| {
            best = Some(best.map_or(value, |other| choose(other, value)));
            Ok(())
        })?;
    }
    best.ok_or_else(|| {
        Cause::new(SkipReason::MissingValue, "min or max of no number at all".into())
    })
}

/// The sum of what a path selects is 0 where it selects nothing: no such lines, no points. Only a
/// path of names and indexes must be there.
fn sum(arguments: &[Expr], document: &Value) -> Result<Decimal, Cause> {
    let mut total = Decimal::ZERO;
    for argument in arguments {
        argument.each(document, &mut |value| {
            total = Operator::Add.apply(total, value)?;
            Ok(())
        })?;
    }
    Ok(total)
}

/// Counts nodes, whether they are numbers or not. The parser lets only paths through.
fn count(arguments: &[Expr], document: &Value) -> Decimal {
    let nodes = |argument: &Expr| match argument {
        Expr::Path(path) => path.select(document).as_slice().len(),
        Expr::Number(_) | Expr::Negative(_) | Expr::Binary(..) | Expr::Call(..) => 0,
    };
    arguments.iter().map(nodes).sum::<usize>().into()
}

fn single(path: &Path, document: &Value) -> Result<Decimal, Cause> {
    match path.select(document).as_slice() {
        [] => Err(missing(path)),
        [node] => number(path, node),
        nodes => {
            let detail = format!("{} selects {} values, expected one", path.text(), nodes.len());
            Err(Cause::new(SkipReason::SeveralValues, detail))
        }
    }
}

/// The exact number of a node, or why there is none.
pub(crate) fn number(path: &Path, node: &Value) -> Result<Decimal, Cause> {
    let Value::Number(number) = node else {
        let detail = format!("{} is {}, expected a number", path.text(), kind(node));
        return Err(Cause::new(SkipReason::NotANumber, detail));
    };
    decimal::of_number(number).ok_or_else(|| {
        let detail = format!("{} is {number}, which 28 digits cannot hold", path.text());
        Cause::new(SkipReason::Overflow, detail)
    })
}

pub(crate) fn missing(path: &Path) -> Cause {
    Cause::new(SkipReason::MissingValue, format!("{} selects nothing", path.text()))
}

pub(crate) fn kind(node: &Value) -> &'static str {
    match node {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn divided_by_zero(left: Decimal) -> Cause {
    let detail = format!("{} / 0", decimal::to_text(left));
    Cause::new(SkipReason::DivisionByZero, detail)
}

fn too_large(symbol: char, left: Decimal, right: Decimal) -> Cause {
    let (left, right) = (decimal::to_text(left), decimal::to_text(right));
    Cause::new(SkipReason::Overflow, format!("{left} {symbol} {right} is too large"))
}

#[cfg(test)]
mod tests;
