use std::fmt::Write;

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::text::column_of;

fn error(text: &str) -> String {
    match Formula::parse(text) {
        Ok(_) => format!("{text}: accepted"),
        Err(error) => format!("{text}: {} {}", column_of(text, error.at), error.message),
    }
}

fn result(text: &str, document: &Value) -> String {
    let formula = Formula::parse(text).unwrap_or_else(|_| panic!("{}", error(text)));
    match formula.value(document) {
        Ok(value) => decimal::to_text(value),
        Err(Cause { reason, detail }) => format!("{reason}: {detail}"),
    }
}

fn basket() -> Value {
    json!({
        "amount": 139.12, "zero": 0, "no": "12", "big": 1e28, "huge": 1e300, "x-y": 7, "a b": 3,
        "lines": [{"n": 10, "c": "wine"}, {"n": 20.5, "c": "tea"}, {"n": 30, "c": "wine"}], "empty": [],
    })
}

#[test]
fn arithmetic_is_exact_and_has_the_usual_precedence() {
    for (formula, value) in [
        ("$.amount/10", "13.912"),
        ("$.amount", "139.12"),
        ("0.1+0.2", "0.3"),
        ("1+2*3", "7"),
        ("(1+2)*3", "9"),
        ("10-4-3", "3"),
        ("100/10/5", "2"),
        ("2*-3", "-6"),
        ("--3", "3"),
        ("-(1+2)", "-3"),
        ("-$.amount*2", "-278.24"),
        ("1 - -1", "2"),
        ("-$.zero", "0"),
        ("\t1\n+ 1 ", "2"),
        ("$['x-y']*2", "14"),
        ("$['a b']-1", "2"),
        ("$.amount-$.lines[0].n", "129.12"),
        ("$.lines[-1].n*2", "60"),
        ("$.lines[?@.n > 25].n * 2", "60"),
        ("1/3*3", "0.9999999999999999999999999999"),
    ] {
        assert_eq!(result(formula, &basket()), value, "{formula}");
    }
}

#[test]
fn functions_take_numbers_or_all_that_a_path_selects() {
    for (formula, value) in [
        ("min(3, 1, 2)", "1"),
        ("max($.lines[*].n)", "30"),
        ("min($.lines[*].n, 5)", "5"),
        ("max($.empty[*], 5)", "5"),
        ("sum($.lines[*].n)", "60.5"),
        ("sum($.lines[?@.c == 'wine'].n)/10", "4"),
        ("sum($.lines[?@.c == 'beer'].n)", "0"),
        ("sum(1, $.amount, $.lines[*].n)", "200.62"),
        ("sum(($.lines[*].n))", "60.5"),
        ("count($.lines[*])", "3"),
        ("count($.lines[*].c)", "3"),
        ("count($.missing)", "0"),
        ("floor(2.5)", "2"),
        ("floor(-2.5)", "-3"),
        ("ceil(2.1)", "3"),
        ("ceil(-2.5)", "-2"),
        ("round(2.5)", "3"),
        ("round(3.5)", "4"),
        ("round(-2.5)", "-3"),
        ("round(2.49)", "2"),
        ("abs(-2.5)", "2.5"),
        ("floor($.amount/10)*10", "130"),
        ("max(0, min($.amount - 100, 50))", "39.12"),
    ] {
        assert_eq!(result(formula, &basket()), value, "{formula}");
    }
}

#[test]
fn a_formula_without_a_value_says_why() {
    let formulas = [
        "$.missing * 2",
        "$.no * 2",
        "$.lines * 2",
        "$.lines[*].n * 2",
        "$.lines[?@.n > 99].n * 2",
        "sum($.missing)",
        "sum($.lines[*].c)",
        "min($.empty[*])",
        "1 / $.zero",
        "$.amount / ($.zero * 5)",
        "$.big * $.big",
        "$.big * 7 + $.big",
        "$.huge",
    ];
    let results = formulas.map(|formula| format!("{formula} -> {}", result(formula, &basket())));
    assert_snapshot!(results.join("\n"), @"
    $.missing * 2 -> missing_value: $.missing selects nothing
    $.no * 2 -> not_a_number: $.no is a string, expected a number
    $.lines * 2 -> not_a_number: $.lines is an array, expected a number
    $.lines[*].n * 2 -> several_values: $.lines[*].n selects 3 values, expected one
    $.lines[?@.n > 99].n * 2 -> missing_value: $.lines[?@.n > 99].n selects nothing
    sum($.missing) -> missing_value: $.missing selects nothing
    sum($.lines[*].c) -> not_a_number: $.lines[*].c is a string, expected a number
    min($.empty[*]) -> missing_value: min or max of no number at all
    1 / $.zero -> division_by_zero: 1 / 0
    $.amount / ($.zero * 5) -> division_by_zero: 139.12 / 0
    $.big * $.big -> overflow: 10000000000000000000000000000 * 10000000000000000000000000000 is too large
    $.big * 7 + $.big -> overflow: 70000000000000000000000000000 + 10000000000000000000000000000 is too large
    $.huge -> overflow: $.huge is 1e+300, which 28 digits cannot hold
    ");
}

#[test]
fn a_bad_formula_is_refused_with_its_column() {
    let texts = [
        "",
        " ",
        "1+",
        "1 2",
        "(1",
        "1)",
        "()",
        "*2",
        "+1",
        "1**2",
        "1 % 2",
        "1.",
        ".5",
        "1.2.3",
        "1e3",
        "1_000",
        "amount/10",
        "Min(1)",
        "min",
        "min(",
        "min()",
        "min(1,)",
        "min(1 2)",
        "floor(1,2)",
        "count(1)",
        "count($.a, $.b)",
        "count()",
        "$",
        "$.",
        "$.a-b",
        "$.größe + $.a[?]",
        "$.lines[0",
        "1 + $..a..b",
        "2*$.a[?@.b = 1]",
        "'1'",
        "1;2",
        "99999999999999999999999999999",
    ];
    let mut errors = String::new();
    for text in texts {
        writeln!(errors, "{}", error(text)).unwrap();
    }
    assert_snapshot!(errors, @"
    : 1 expected a number, a path ($.name), a function or `(`, found the end
     : 2 expected a number, a path ($.name), a function or `(`, found the end
    1+: 3 expected a number, a path ($.name), a function or `(`, found the end
    1 2: 3 expected an operator (+ - * /) or the end, found `2`
    (1: 1 expected a `)` for this `(`
    1): 2 expected a `(` for this `)`
    (): 2 expected a number, a path ($.name), a function or `(`, found `)`
    *2: 1 expected a number, a path ($.name), a function or `(`, found `*2`
    +1: 1 expected a number, a path ($.name), a function or `(`, found `+1`
    1**2: 3 expected a number, a path ($.name), a function or `(`, found `*2`
    1 % 2: 3 expected an operator (+ - * /) or the end, found `% 2`
    1.: 1 expected a decimal such as 0.5, of at most 28 digits, found `1.`
    .5: 1 expected a number, a path ($.name), a function or `(`, found `.5`
    1.2.3: 1 expected a decimal such as 0.5, of at most 28 digits, found `1.2.3`
    1e3: 2 expected an operator (+ - * /) or the end, found `e3`
    1_000: 2 expected an operator (+ - * /) or the end, found `_000`
    amount/10: 1 expected a function (min, max, sum, count, floor, ceil, round, abs) or a path ($.name, $['other-name']), found `amount`
    Min(1): 1 expected a function (min, max, sum, count, floor, ceil, round, abs) or a path ($.name, $['other-name']), found `Min`
    min: 4 expected `(` after min, found the end
    min(: 5 expected a number, a path ($.name), a function or `(`, found the end
    min(): 1 expected an argument in min(…)
    min(1,): 7 expected a number, a path ($.name), a function or `(`, found `)`
    min(1 2): 7 expected an operator (+ - * /), `,` or `)`, found `2)`
    floor(1,2): 1 expected one argument in floor(…), found 2
    count(1): 1 expected one path in count(…)
    count($.a, $.b): 1 expected one path in count(…)
    count(): 1 expected one path in count(…)
    $: accepted
    $.: 3 expected a JSONPath (RFC 9535), which does not end here
    $.a-b: 5 expected a function (min, max, sum, count, floor, ceil, round, abs) or a path ($.name, $['other-name']), found `b`
    $.größe + $.a[?]: 16 expected a JSONPath (RFC 9535), found `]` here
    $.lines[0: 8 expected a `]` for this `[`
    1 + $..a..b: 5 expected at most one `..` in a path
    2*$.a[?@.b = 1]: 12 expected a JSONPath (RFC 9535), found `= 1]` here
    '1': 1 expected a number, a path ($.name), a function or `(`, found `'1'`
    1;2: 2 expected an operator (+ - * /) or the end, found `;2`
    99999999999999999999999999999: 1 expected a decimal such as 0.5, of at most 28 digits, found `999999999999999999999999…`
    ");
}

#[test]
fn a_division_by_a_constant_zero_is_refused() {
    let texts = [
        "$.amount/0",
        "$.amount / 0.00",
        "1/(2-2)",
        "$.a / -0",
        "$.a/(1*0)",
        "$.a/floor(0.5)",
        "$.a/min(0,1)",
        "9999999999999999999999999999*10",
    ];
    assert_snapshot!(texts.map(error).join("\n"), @"
    $.amount/0: 10 expected a divisor other than 0
    $.amount / 0.00: 12 expected a divisor other than 0
    1/(2-2): 3 expected a divisor other than 0
    $.a / -0: 7 expected a divisor other than 0
    $.a/(1*0): 5 expected a divisor other than 0
    $.a/floor(0.5): 5 expected a divisor other than 0
    $.a/min(0,1): 5 expected a divisor other than 0
    9999999999999999999999999999*10: 29 expected numbers that can be computed: 9999999999999999999999999999 * 10 is too large
    ");
    assert!(Formula::parse("$.a/(2-1)").is_ok());
    assert!(Formula::parse("0/$.a").is_ok());
}

#[test]
fn the_length_of_a_formula_has_a_bound() {
    let longest = format!("{}11", "1+".repeat(499));
    assert_eq!(longest.len(), 1_000);
    assert!(Formula::parse(&longest).is_ok(), "{}", error(&longest));
    assert!(Formula::parse(&format!("{longest}1")).is_err());
}

#[test]
fn the_longest_chain_of_operations_has_room_on_the_stack() {
    let chain = format!("$.a{}", "-$.a".repeat(249));
    assert_eq!(result(&chain, &json!({"a": 1})), "-248");
}

#[test]
fn nesting_has_a_bound() {
    let parentheses = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
    let minuses = |levels: usize| format!("{}$.a", "-".repeat(levels));
    let calls = |levels: usize| format!("{}1{}", "abs(".repeat(levels), ")".repeat(levels));
    for nested in [parentheses, minuses, calls] {
        assert!(Formula::parse(&nested(64)).is_ok(), "{}", error(&nested(64)));
        assert!(error(&nested(65)).ends_with("expected at most 64 levels of nesting"));
    }
    let side_by_side = "(1)+abs(1)--1+".repeat(70);
    assert!(Formula::parse(&format!("{side_by_side}1")).is_ok(), "levels end");
    for open in ["(", "-", "min(", "$["] {
        assert!(Formula::parse(&open.repeat(1_000 / open.len())).is_err());
    }
}

/// A formula as a tree of its own, evaluated in the plainest way.
#[derive(Debug, Clone)]
enum Tree {
    Number(Decimal),
    Field(usize),
    Negative(Box<Tree>),
    Binary(char, Box<Tree>, Box<Tree>),
    Call(&'static str, Vec<Tree>),
}

const FIELDS: [(&str, &str); 4] =
    [("$.a", "7"), ("$['b c']", "-0.5"), ("$.l[1]", "139.12"), ("$.zero", "0")];

fn document() -> Value {
    json!({"a": 7, "b c": -0.5, "l": [1, 139.12], "zero": 0})
}

impl Tree {
    fn print(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Field(field) => FIELDS[*field].0.to_owned(),
            Self::Negative(inner) => format!("-{}", inner.print_tight()),
            Self::Binary(symbol, left, right) => {
                // Parentheses only where they are needed, so that precedence is put to the test.
                let (left, right) = match symbol {
                    '+' => (left.print(), right.print_unless(&['+', '-'])),
                    '-' => (left.print(), right.print_unless(&['+', '-'])),
                    _ => {
                        (left.print_unless(&['+', '-']), right.print_unless(&['+', '-', '*', '/']))
                    }
                };
                format!("{left}{symbol} {right}")
            }
            Self::Call(name, arguments) => {
                let arguments: Vec<_> = arguments.iter().map(Self::print).collect();
                format!("{name}({})", arguments.join(" , "))
            }
        }
    }

    fn print_tight(&self) -> String {
        self.print_unless(&['+', '-', '*', '/'])
    }

    fn print_unless(&self, symbols: &[char]) -> String {
        match self {
            Self::Binary(symbol, ..) if symbols.contains(symbol) => format!("({})", self.print()),
            _ => self.print(),
        }
    }

    /// `None`: no value.
    fn value(&self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Field(field) => Some(FIELDS[*field].1.parse().unwrap()),
            Self::Negative(inner) => Some(-inner.value()?),
            Self::Binary(symbol, left, right) => {
                let (left, right) = (left.value()?, right.value()?);
                match symbol {
                    '+' => left.checked_add(right),
                    '-' => left.checked_sub(right),
                    '*' => left.checked_mul(right),
                    _ => left.checked_div(right),
                }
            }
            Self::Call(name, arguments) => {
                let values: Vec<_> = arguments.iter().map(Self::value).collect::<Option<_>>()?;
                match *name {
                    "min" => values.into_iter().min(),
                    "max" => values.into_iter().max(),
                    "sum" => values.into_iter().try_fold(Decimal::ZERO, Decimal::checked_add),
                    "floor" => Some(values[0].floor()),
                    "ceil" => Some(values[0].ceil()),
                    "abs" => Some(values[0].abs()),
                    _ if values[0].fract().abs() < Decimal::new(5, 1) => Some(values[0].trunc()),
                    _ if values[0].is_sign_negative() => Some(values[0].floor()),
                    _ => Some(values[0].ceil()),
                }
            }
        }
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (0..100_000_i64, 0..4_u32)
            .prop_map(|(mantissa, scale)| Tree::Number(Decimal::new(mantissa, scale))),
        (0..FIELDS.len()).prop_map(Tree::Field),
    ];
    leaf.prop_recursive(6, 30, 3, |inner| {
        let many = prop::sample::select(vec!["min", "max", "sum"]);
        let one = prop::sample::select(vec!["floor", "ceil", "abs", "round"]);
        let symbol = prop::sample::select(vec!['+', '-', '*', '/']);
        prop_oneof![
            inner.clone().prop_map(|inner| Tree::Negative(inner.into())),
            (symbol, inner.clone(), inner.clone()).prop_map(|(symbol, left, right)| Tree::Binary(
                symbol,
                left.into(),
                right.into()
            )),
            (many, prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(name, arguments)| Tree::Call(name, arguments)),
            (one, inner).prop_map(|(name, argument)| Tree::Call(name, vec![argument])),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_formula_has_the_value_of_its_tree(tree in any_tree()) {
        let text = tree.print();
        prop_assume!(text.len() <= FORMULA_BYTES_MAX);
        // A formula that must fail on every document is refused when it is parsed.
        let value = Formula::parse(&text).ok().and_then(|formula| formula.value(&document()).ok());
        prop_assert_eq!(value, tree.value(), "{}", text);
    }

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), "[-+*/(),.0-9$a\\[\\]'?@ ]{0,80}", "(min|sum|count|\\$\\.a|[-+*/(),] ?|[0-9]{1,30}){0,30}"]) {
        match Formula::parse(&text) {
            Ok(formula) => drop(formula.value(&json!({"a": [1e28, {"a": 0}]}))),
            Err(error) => prop_assert!(text.is_char_boundary(error.at), "{} in {text:?}", error.at),
        }
    }
}
