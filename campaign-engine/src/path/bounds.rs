//! What a path may cost at most, judged when it is compiled.
//!
//! Without these bounds 50 bytes (`$..*..*..*..*` or `$[0,0][0,0][0,0]…`) would select more nodes
//! than any machine holds. What is left costs at most the size of the document times its depth.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector, Test,
    TestFunction,
};

const DESCENDANTS_MAX: usize = 1;
/// Of all brackets such as `[0,1]` together, multiplied.
const SELECTORS_MAX: usize = 64;
const PATTERN_BYTES_MAX: usize = 64;

const DESCENDANTS: &str = "expected at most one `..` in a path";
const SELECTORS: &str = "expected fewer selectors in brackets: at most 64, multiplied";
const ABSOLUTE: &str = "expected a path of names and indexes where a filter starts from `$`";
const CUSTOM: &str = "expected one of the functions length, count, value, match, search";
const PATTERN: &str = "expected a pattern written out in quotes, of at most 64 ASCII characters, \
                       without `{` and with `\\` only before punctuation";

type Checked = Result<(), &'static str>;

pub(crate) fn check(query: &JpQuery) -> Checked {
    Cost { descendants: 0, selectors: 1 }.segments(&query.segments)
}

/// Names and indexes only: selects one node at most.
pub(crate) fn is_singular(query: &JpQuery) -> bool {
    query
        .segments
        .iter()
        .all(|segment| matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_))))
}

struct Cost {
    descendants: usize,
    selectors: usize,
}

impl Cost {
    fn segments(&mut self, segments: &[Segment]) -> Checked {
        segments.iter().try_for_each(|segment| self.segment(segment))
    }

    fn segment(&mut self, segment: &Segment) -> Checked {
        match segment {
            Segment::Descendant(inner) => {
                self.descendants += 1;
                if self.descendants > DESCENDANTS_MAX {
                    return Err(DESCENDANTS);
                }
                self.segment(inner)
            }
            Segment::Selector(selector) => self.selector(selector),
            Segment::Selectors(selectors) => {
                self.selectors = self.selectors.saturating_mul(selectors.len());
                if self.selectors > SELECTORS_MAX {
                    return Err(SELECTORS);
                }
                selectors.iter().try_for_each(|selector| self.selector(selector))
            }
        }
    }

    fn selector(&mut self, selector: &Selector) -> Checked {
        match selector {
            Selector::Filter(filter) => self.filter(filter),
            Selector::Name(_) | Selector::Wildcard | Selector::Index(_) | Selector::Slice(..) => {
                Ok(())
            }
        }
    }

    fn filter(&mut self, filter: &Filter) -> Checked {
        match filter {
            Filter::Or(parts) | Filter::And(parts) => {
                parts.iter().try_for_each(|part| self.filter(part))
            }
            Filter::Atom(FilterAtom::Filter { expr, .. }) => self.filter(expr),
            Filter::Atom(FilterAtom::Test { expr, .. }) => self.test(expr),
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.comparison(comparison),
        }
    }

    fn comparison(&mut self, comparison: &Comparison) -> Checked {
        let (left, right) = comparison.vals();
        self.comparable(left)?;
        self.comparable(right)
    }

    fn comparable(&mut self, comparable: &Comparable) -> Checked {
        match comparable {
            Comparable::Function(function) => self.function(function),
            Comparable::Literal(_) | Comparable::SingularQuery(_) => Ok(()),
        }
    }

    fn test(&mut self, test: &Test) -> Checked {
        match test {
            Test::RelQuery(segments) => self.segments(segments),
            // Asked again for every element: anything but a walk would cost the square of the document.
            Test::AbsQuery(query) if is_singular(query) => Ok(()),
            Test::AbsQuery(_) => Err(ABSOLUTE),
            Test::Function(function) => self.function(function),
        }
    }

    fn function(&mut self, function: &TestFunction) -> Checked {
        match function {
            TestFunction::Length(argument) => self.argument(argument),
            TestFunction::Value(argument) | TestFunction::Count(argument) => {
                self.argument(argument)
            }
            TestFunction::Search(text, pattern) | TestFunction::Match(text, pattern) => {
                self.argument(text)?;
                check_pattern(pattern)
            }
            TestFunction::Custom(..) => Err(CUSTOM),
        }
    }

    fn argument(&mut self, argument: &FnArg) -> Checked {
        match argument {
            FnArg::Literal(_) => Ok(()),
            FnArg::Test(test) => self.test(test),
            FnArg::Filter(filter) => self.filter(filter),
        }
    }
}

/// jsonpath-rust compiles the pattern anew for every element, so only cheap patterns are let in:
/// counted repetitions and Unicode classes can grow to megabytes.
fn check_pattern(pattern: &FnArg) -> Checked {
    match pattern {
        FnArg::Literal(Literal::String(text)) if is_cheap(text) => Ok(()),
        FnArg::Literal(_) | FnArg::Test(_) | FnArg::Filter(_) => Err(PATTERN),
    }
}

fn is_cheap(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    let mut plain = pattern.len() <= PATTERN_BYTES_MAX && pattern.is_ascii();
    while let Some(c) = chars.next() {
        plain &= match c {
            '{' => false,
            '\\' => chars.next().is_some_and(|escaped| escaped.is_ascii_punctuation()),
            _ => true,
        };
    }
    plain
}
