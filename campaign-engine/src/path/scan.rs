//! Where a path ends, and how deep it nests, found without parsing it.

/// Brackets and parentheses of a path, so that the parser's recursion stays shallow.
const NESTING_MAX: usize = 16;
/// Calls within calls. The grammar tries a call that does not fit several times, so the time to
/// refuse a path grows threefold with every level: 13 of them take seconds.
const CALLS_NESTED_MAX: usize = 4;

/// The bytes of the path that `text` starts with. The path of `$.amount/10` is `$.amount`, that of
/// `$.lines[?@.tax > 1].net - 1` ends before the space. Blanks are part of a path only inside
/// brackets, otherwise `$.a b` would be one name.
///
/// A path that goes wrong is cut behind its last plausible character; the parser says what is wrong.
pub(crate) fn path_bytes(text: &str) -> usize {
    let mut at = usize::from(text.starts_with('$'));
    while let Some(rest) = text.get(at..) {
        let bytes = match rest.bytes().next() {
            Some(b'.') => dotted_bytes(rest),
            Some(b'[') => bracket_bytes(rest).unwrap_or(rest.len()),
            _ => break,
        };
        at += bytes;
    }
    at
}

/// A point with its name or `*`; of `..` the first alone.
fn dotted_bytes(rest: &str) -> usize {
    let after = rest.strip_prefix('.').unwrap_or(rest);
    if after.starts_with('*') {
        return 2;
    }
    1 + after.find(|c: char| !is_name_char(c)).unwrap_or(after.len())
}

/// As RFC 9535 has it for `member-name-shorthand`: no hyphen.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// From `[` to its own `]`; `None` if that is missing.
fn bracket_bytes(rest: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in unquoted(rest) {
        match c {
            '[' => open += 1,
            ']' if open == 1 => return Some(at + 1),
            ']' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The byte offset of the first `[` that is never closed.
pub(crate) fn unclosed_bracket(path: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (at, c) in unquoted(path) {
        match c {
            '[' => open.push(at),
            ']' => drop(open.pop()),
            _ => {}
        }
    }
    open.first().copied()
}

/// The byte offset at which the path nests deeper than can be parsed in bounded time and stack.
pub(crate) fn too_deep(path: &str) -> Option<usize> {
    let (mut calls, mut open, mut before) = (0_usize, Vec::new(), ' ');
    for (at, c) in unquoted(path) {
        match c {
            '[' | '(' => {
                let is_call = c == '(' && is_name_char(before);
                calls += usize::from(is_call);
                open.push(is_call);
            }
            ']' | ')' => calls -= usize::from(open.pop() == Some(true)),
            _ => {}
        }
        if open.len() > NESTING_MAX || calls > CALLS_NESTED_MAX {
            return Some(at);
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    None
}

/// The characters outside of string literals.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().filter(move |&(_, c)| {
        let Some(open) = quote else {
            if matches!(c, '\'' | '"') {
                quote = Some(c);
            }
            return quote.is_none();
        };
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == open {
            quote = None;
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_where_its_segments_end() {
        for (text, path) in [
            ("$", "$"),
            ("$.amount/10", "$.amount"),
            ("$.a-b", "$.a"),
            ("$.a*2", "$.a"),
            ("$.*", "$.*"),
            ("$.a.*)", "$.a.*"),
            ("$..a+1", "$..a"),
            ("$..*", "$..*"),
            ("$..[0] ", "$..[0]"),
            ("$.größe_2+1", "$.größe_2"),
            ("$['x y'] + 1", "$['x y']"),
            ("$['a]b']+1", "$['a]b']"),
            ("$[\"a]\\\"]\"]+1", "$[\"a]\\\"]\"]"),
            ("$.l[?@.a[0] == ']'].n-1", "$.l[?@.a[0] == ']'].n"),
            ("$.l[?(@.a > 1)].n)", "$.l[?(@.a > 1)].n"),
            ("$.a [0]", "$.a"),
            ("$.a[0", "$.a[0"),
            ("$.a['x]+1", "$.a['x]+1"),
            ("$.", "$."),
            ("$.5+1", "$.5"),
        ] {
            assert_eq!(&text[..path_bytes(text)], path, "{text}");
        }
    }

    #[test]
    fn brackets_in_strings_are_not_brackets() {
        assert_eq!(unclosed_bracket("$.a['[[[']"), None);
        assert_eq!(unclosed_bracket("$.a[0][1"), Some(6));
        assert_eq!(too_deep(&format!("$['{}']", "[".repeat(200))), None);
    }

    #[test]
    fn nesting_has_a_bound() {
        let nested = |levels: usize| format!("${}", "[?@".repeat(levels));
        assert_eq!(too_deep(&nested(16)), None);
        assert_eq!(too_deep(&nested(17)), Some(49));
        let calls = |levels: usize| format!("$[?{}", "count(".repeat(levels));
        assert_eq!(too_deep(&calls(4)), None);
        assert!(too_deep(&calls(5)).is_some());
        assert_eq!(
            too_deep(
                "$[?count(@.a)==1 && count(@.b)==1 && count(@.c)==1 && count(@.d)==1 && count(@.e)==1]"
            ),
            None
        );
    }
}
