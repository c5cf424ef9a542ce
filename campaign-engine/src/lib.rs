//! The campaign engine: rules and a document in, awards and a trace out.
//!
//! Pure: no I/O, no clock, no async. [`rules::Rules::compile`] checks a rule document once, when a
//! campaign is saved; [`rules::Rules::evaluate`] judges a document, and [`rules::Rules::explain`]
//! does the same and says why.
//!
//! # The rule format
//!
//! ```json
//! [{
//!   "name": "a tenth of big baskets",
//!   "variable": "$.amount",
//!   "condition": {"rule": "numeric_greater_than", "value": 100},
//!   "action": {"command": "issue", "formula": "$.amount/10"},
//!   "round": "down"
//! }]
//! ```
//!
//! `name` and `round` may be left out. Several conditions that must all hold stand in `all`, in place
//! of `variable` and `condition`: `"all": [{"variable": "$.amount", "condition": {…}}, …]`. Unknown
//! fields are refused.
//!
//! **Conditions** compare numbers by `numeric_equals`, `numeric_greater_than`,
//! `numeric_greater_than_equals`, `numeric_less_than` or `numeric_less_than_equals`. `value` is a
//! JSON number or, beyond 15 digits, a decimal as text. Where the path selects several numbers the
//! condition holds if it holds for any of them. Conditions are judged in order, and the first that
//! does not hold ends the rule.
//!
//! **Paths** are JSONPath (RFC 9535). Blanks are allowed inside brackets only. At most one `..` a
//! path, at most 64 selectors in brackets (multiplied), filters start from `$` by names and indexes
//! only, and the patterns of `match` and `search` are short literals: so no path can cost more than
//! the document is worth.
//!
//! **Formulas** know `+ - * / ( )`, unary minus, decimals, paths, and functions: `min max sum` take
//! any number of arguments and of each path all the numbers that it selects; `count` takes a path
//! and counts its values; `floor ceil round abs` take one number (`round` to the nearest whole one, a
//! half away from zero). Anywhere else a path must select exactly one number. `sum` over a wildcard,
//! slice or filter that selects nothing is 0. A name with a hyphen or a blank is written
//! `$['such-a name']`. Numbers are exact decimals of 28 significant digits, and only a division ever
//! rounds: multiply before you divide.
//!
//! **Points.** The total is rounded once a rule (`round`: `down`, `up`, `half_up`). 0 or less awards
//! nothing. More than 10^12 is refused as an overflow.
//!
//! **Skips.** A missing value, a value that is no number, several values where one is needed, a
//! division by zero or an overflow skips that rule, with a [`cause::SkipReason`], and no other.
//!
//! ```
//! use accrue_campaign_engine::rules::Rules;
//! use serde_json::json;
//!
//! let rules = Rules::compile(&json!([{
//!     "variable": "$.amount",
//!     "condition": {"rule": "numeric_greater_than", "value": 100},
//!     "action": {"command": "issue", "formula": "$.amount/10"},
//! }]))
//! .expect("the rules are well-formed");
//! let outcome = rules.evaluate(&json!({"amount": 139.12}));
//! assert_eq!(outcome.awards[0].points, 13);
//! ```

pub mod cause;
pub mod compile;
mod decimal;
pub mod explanation;
pub mod format;
pub mod formula;
pub mod path;
pub mod rules;
mod text;
