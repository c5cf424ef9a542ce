//! The formula parser: recursive descent, one function a level of precedence.
//!
//! ```text
//! sum     = product  { ("+" | "-") product }
//! product = unary    { ("*" | "/") unary }
//! unary   = "-" unary | primary
//! primary = number | path | name "(" sum { "," sum } ")" | "(" sum ")"
//! ```
//!
//! Parts without a path are computed here, so that `1/(2-2)` is refused when it is saved.

use rust_decimal::Decimal;
use serde_json::Value;

use super::{Expr, FORMULA_BYTES_MAX, FORMULA_NESTING_MAX, FormulaError, Function, Operator};
use crate::decimal;
use crate::path::{Path, scan};
use crate::text::clip;

type Parsed = Result<Expr, FormulaError>;

pub(super) fn parse(text: &str) -> Parsed {
    if text.len() > FORMULA_BYTES_MAX {
        let message = format!("expected a formula of at most {FORMULA_BYTES_MAX} bytes");
        return Err(FormulaError { at: 0, message });
    }
    let mut parser = Parser { text, at: 0, nesting: 0 };
    let expr = parser.sum()?;
    match parser.peek() {
        None => Ok(expr),
        Some(')') => parser.fail("expected a `(` for this `)`".into()),
        Some(_) => parser.fail_expecting("an operator (+ - * /) or the end"),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    nesting: usize,
}

impl<'t> Parser<'t> {
    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Add,
                Some('-') => Operator::Subtract,
                _ => return Ok(left),
            };
            let at = self.step();
            let right = self.product()?;
            left = folded(Expr::Binary(operator, Box::new([left, right])), at)?;
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Some('*') => Operator::Multiply,
                Some('/') => Operator::Divide,
                _ => return Ok(left),
            };
            let at = self.step();
            let divisor_at = self.skip_blanks();
            let right = self.unary()?;
            if operator == Operator::Divide && is_zero(&right) {
                let message = "expected a divisor other than 0".into();
                return Err(FormulaError { at: divisor_at, message });
            }
            left = folded(Expr::Binary(operator, Box::new([left, right])), at)?;
        }
    }

    fn unary(&mut self) -> Parsed {
        if self.peek() != Some('-') {
            return self.primary();
        }
        let at = self.step();
        let inner = self.nested(at, Self::unary)?;
        folded(Expr::Negative(Box::new(inner)), at)
    }

    fn primary(&mut self) -> Parsed {
        match self.peek() {
            Some('(') => self.group(),
            Some('$') => self.path(),
            Some('0'..='9') => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => self.call(),
            _ => self.fail_expecting("a number, a path ($.name), a function or `(`"),
        }
    }

    fn group(&mut self) -> Parsed {
        let at = self.step();
        let inner = self.nested(at, Self::sum)?;
        self.close(at)?;
        Ok(inner)
    }

    fn path(&mut self) -> Parsed {
        let (at, rest) = (self.at, self.rest());
        let text = self.take(scan::path_bytes(rest));
        let path = Path::parse(text)
            .map_err(|error| FormulaError { at: at + error.at, message: error.message })?;
        Ok(Expr::Path(path))
    }

    fn number(&mut self) -> Parsed {
        let (at, rest) = (self.at, self.rest());
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let text = self.take(end);
        match decimal::of_text(text) {
            Some(number) => Ok(Expr::Number(number)),
            None => {
                let found = clip(text);
                let message = format!(
                    "expected a decimal such as 0.5, of at most 28 digits, found `{found}`"
                );
                Err(FormulaError { at, message })
            }
        }
    }

    fn call(&mut self) -> Parsed {
        let (at, rest) = (self.at, self.rest());
        let end = rest.find(|c: char| !scan::is_name_char(c)).unwrap_or(rest.len());
        let name = self.take(end);
        let Some(&(function, _)) = Function::ALL.iter().find(|(_, known)| *known == name) else {
            return Err(FormulaError { at, message: unknown_name(name) });
        };
        if self.peek() != Some('(') {
            return self.fail_expecting(&format!("`(` after {name}"));
        }
        let open = self.step();
        let arguments = self.arguments(open)?;
        self.close(open)?;
        check_arguments(function, name, &arguments)
            .map_err(|message| FormulaError { at, message })?;
        folded(Expr::Call(function, arguments), at)
    }

    fn arguments(&mut self, open: usize) -> Result<Vec<Expr>, FormulaError> {
        let mut arguments = Vec::new();
        if self.peek() == Some(')') {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.nested(open, Self::sum)?);
            if self.peek() != Some(',') {
                return Ok(arguments);
            }
            self.step();
        }
    }

    fn close(&mut self, open: usize) -> Result<(), FormulaError> {
        match self.peek() {
            Some(')') => {
                self.step();
                Ok(())
            }
            None => Err(FormulaError { at: open, message: "expected a `)` for this `(`".into() }),
            Some(_) => self.fail_expecting("an operator (+ - * /), `,` or `)`"),
        }
    }

    /// The only way down a level: it bounds the recursion, whatever the input.
    fn nested(&mut self, at: usize, parse: fn(&mut Self) -> Parsed) -> Parsed {
        self.nesting += 1;
        if self.nesting > FORMULA_NESTING_MAX {
            let message = format!("expected at most {FORMULA_NESTING_MAX} levels of nesting");
            return Err(FormulaError { at, message });
        }
        let inner = parse(self);
        self.nesting -= 1;
        inner
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character that is not blank.
    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    fn skip_blanks(&mut self) -> usize {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.at
    }

    /// Moves past the character that was peeked at, and says where it was. All that are stepped
    /// over are one byte long.
    fn step(&mut self) -> usize {
        let at = self.at;
        self.at += 1;
        at
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn fail<T>(&self, message: String) -> Result<T, FormulaError> {
        Err(FormulaError { at: self.at, message })
    }

    fn fail_expecting<T>(&mut self, expected: &str) -> Result<T, FormulaError> {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(_) => format!("`{}`", clip(self.rest())),
        };
        self.fail(format!("expected {expected}, found {found}"))
    }
}

fn unknown_name(name: &str) -> String {
    let known: Vec<_> = Function::ALL.iter().map(|(_, known)| *known).collect();
    format!(
        "expected a function ({}) or a path ($.name, $['other-name']), found `{}`",
        known.join(", "),
        clip(name)
    )
}

fn check_arguments(function: Function, name: &str, arguments: &[Expr]) -> Result<(), String> {
    match (function, arguments) {
        (Function::Count, [Expr::Path(_)]) => Ok(()),
        (Function::Count, _) => Err("expected one path in count(…)".into()),
        (_, []) => Err(format!("expected an argument in {name}(…)")),
        (_, [_]) => Ok(()),
        (_, _) if function.takes_many() => Ok(()),
        _ => Err(format!("expected one argument in {name}(…), found {}", arguments.len())),
    }
}

fn is_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Number(number) if number.is_zero())
}

/// An expression of numbers alone becomes its number.
fn folded(expr: Expr, at: usize) -> Parsed {
    let is_number = |part: &Expr| matches!(part, Expr::Number(_));
    let constant = match &expr {
        Expr::Number(_) | Expr::Path(_) => false,
        Expr::Negative(inner) => is_number(inner),
        Expr::Binary(_, sides) => sides.iter().all(is_number),
        Expr::Call(_, arguments) => arguments.iter().all(is_number),
    };
    if !constant {
        return Ok(expr);
    }
    let value: Result<Decimal, _> = expr.value(&Value::Null);
    value.map(Expr::Number).map_err(|cause| FormulaError {
        at,
        message: format!("expected numbers that can be computed: {}", cause.detail),
    })
}
