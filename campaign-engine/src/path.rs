//! Paths: RFC 9535, compiled once.
//!
//! A path of names and indexes (`$.lines[0].amount`) becomes a walk of our own, which allocates
//! nothing; every other path is jsonpath-rust's. Both start from the same parsed query, so they
//! cannot read a path differently.

mod bounds;
pub(crate) mod scan;

use jsonpath_rust::parser::errors::JsonPathError;
use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use pest::error::InputLocation;
use serde_json::Value;

use crate::text::clip;

/// The length of a path, alone or in a formula.
pub const PATH_BYTES_MAX: usize = 1_000;

#[derive(Debug, Clone)]
pub(crate) struct Path {
    text: Box<str>,
    walk: Walk,
}

#[derive(Debug, Clone)]
enum Walk {
    Singular(Box<[Step]>),
    General(JpQuery),
}

#[derive(Debug, Clone)]
enum Step {
    Name(Box<str>),
    Index(i64),
}

/// What is wrong with a path and where, as a byte offset into its text.
#[derive(Debug)]
pub(crate) struct PathError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// The nodes that a path selects, in the order of the query.
#[derive(Debug)]
pub(crate) enum Nodes<'d> {
    One(Option<&'d Value>),
    Many(Vec<&'d Value>),
}

impl<'d> Nodes<'d> {
    pub(crate) fn as_slice(&self) -> &[&'d Value] {
        match self {
            Self::One(node) => node.as_slice(),
            Self::Many(nodes) => nodes,
        }
    }
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        check_text(text)?;
        let query = parse_json_path(text).map_err(|error| explain(text, error))?;
        bounds::check(&query).map_err(|message| PathError { at: 0, message: message.into() })?;
        let walk = match steps(&query) {
            Some(steps) => Walk::Singular(steps),
            None => Walk::General(query),
        };
        Ok(Self { text: text.into(), walk })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the path selects one node at most, whatever the document.
    pub(crate) fn is_singular(&self) -> bool {
        matches!(self.walk, Walk::Singular(_))
    }

    pub(crate) fn select<'d>(&self, document: &'d Value) -> Nodes<'d> {
        match &self.walk {
            Walk::Singular(steps) => Nodes::One(walk(steps, document)),
            Walk::General(query) => Nodes::Many(query_nodes(query, document)),
        }
    }
}

fn query_nodes<'d>(query: &JpQuery, document: &'d Value) -> Vec<&'d Value> {
    // The error is for queries that compute a value; one that starts with `$` selects nodes only.
    let nodes = js_path_process(query, document).unwrap_or_default();
    nodes.into_iter().map(|node| node.val).collect()
}

fn steps(query: &JpQuery) -> Option<Box<[Step]>> {
    query
        .segments
        .iter()
        .map(|segment| match segment {
            Segment::Selector(Selector::Name(name)) => Some(Step::Name(name.as_str().into())),
            Segment::Selector(Selector::Index(index)) => Some(Step::Index(*index)),
            Segment::Selector(_) | Segment::Selectors(_) | Segment::Descendant(_) => None,
        })
        .collect()
}

fn walk<'d>(steps: &[Step], document: &'d Value) -> Option<&'d Value> {
    steps.iter().try_fold(document, |node, step| match step {
        Step::Name(name) => node.as_object()?.get(&**name),
        Step::Index(index) => element(node.as_array()?, *index),
    })
}

/// A negative index counts from the end: -1 is the last element.
fn element(elements: &[Value], index: i64) -> Option<&Value> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    let at = if index < 0 { elements.len().checked_sub(distance)? } else { distance };
    elements.get(at)
}

/// What can be said of a path before it is parsed; the parser itself is safe only behind this.
fn check_text(text: &str) -> Result<(), PathError> {
    let fail = |at, message: String| Err(PathError { at, message });
    if text.len() > PATH_BYTES_MAX {
        return fail(0, format!("expected a path of at most {PATH_BYTES_MAX} bytes"));
    }
    if !text.starts_with('$') {
        return fail(0, format!("expected a path that starts with `$`, found {:?}", clip(text)));
    }
    if let Some(at) = scan::too_deep(text) {
        return fail(at, "expected a path that nests less deeply".into());
    }
    if let Some(at) = scan::unclosed_bracket(text) {
        return fail(at, "expected a `]` for this `[`".into());
    }
    let end = scan::path_bytes(text);
    match text.get(end..) {
        None | Some("") => Ok(()),
        Some(rest) => fail(end, unexpected(rest)),
    }
}

fn unexpected(rest: &str) -> String {
    let hint = if rest.starts_with('-') {
        "; a name with other characters is written ['x-y']"
    } else {
        ""
    };
    format!("expected `.name`, `[…]` or the end of the path, found `{}`{hint}", clip(rest))
}

fn explain(text: &str, error: JsonPathError) -> PathError {
    let JsonPathError::PestError(error) = error else {
        return PathError { at: 0, message: format!("expected a JSONPath (RFC 9535): {error}") };
    };
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let message = match text.get(at..) {
        None | Some("") => "expected a JSONPath (RFC 9535), which does not end here".into(),
        Some(rest) => format!("expected a JSONPath (RFC 9535), found `{}` here", clip(rest)),
    };
    PathError { at, message }
}

#[cfg(test)]
mod tests;
