use std::fmt::Write;

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::text::column_of;

fn error(text: &str) -> String {
    match Path::parse(text) {
        Ok(_) => format!("{text}: accepted"),
        Err(error) => format!("{text}: {} {}", column_of(text, error.at), error.message),
    }
}

fn errors(texts: &[&str]) -> String {
    texts.iter().fold(String::new(), |mut all, text| {
        writeln!(all, "{}", error(text)).unwrap();
        all
    })
}

fn found(text: &str, document: &Value) -> Vec<Value> {
    let path = Path::parse(text).unwrap_or_else(|error| panic!("{text}: {}", error.message));
    path.select(document).as_slice().iter().map(|&node| node.clone()).collect()
}

#[test]
fn a_path_selects_what_the_standard_says() {
    let document = json!({
        "a": {"b": 1, "x y": 2, "größe": 3},
        "l": [{"n": 10, "c": "wine"}, {"n": 20, "c": "tea"}, {"n": 30, "c": "wine"}],
    });
    for (path, expected) in [
        ("$.a.b", json!([1])),
        ("$['a']['x y']", json!([2])),
        ("$.a.größe", json!([3])),
        ("$.l[0].n", json!([10])),
        ("$.l[-1].n", json!([30])),
        ("$.l[-3].n", json!([10])),
        ("$.l[-4].n", json!([])),
        ("$.l[3].n", json!([])),
        ("$.l.n", json!([])),
        ("$.a[0]", json!([])),
        ("$.l[*].n", json!([10, 20, 30])),
        ("$.l[1:].n", json!([20, 30])),
        ("$.l[0,2].n", json!([10, 30])),
        ("$..n", json!([10, 20, 30])),
        ("$.l[?@.c == 'wine'].n", json!([10, 30])),
        ("$.l[?@.n > 10 && @.c != 'tea'].n", json!([30])),
        ("$.l[?match(@.c, 'w.*')].n", json!([10, 30])),
        ("$.l[?@.n == $.l[1].n].n", json!([20])),
    ] {
        assert_eq!(json!(found(path, &document)), expected, "{path}");
    }
}

#[test]
fn names_and_indexes_are_walked_and_the_rest_is_queried() {
    for (text, singular) in [
        ("$", true),
        ("$.a['b'][0][-1]", true),
        ("$.a[*]", false),
        ("$..a", false),
        ("$['a','b']", false),
    ] {
        assert_eq!(Path::parse(text).unwrap().is_singular(), singular, "{text}");
    }
}

#[test]
fn a_bad_path_is_refused_with_its_column() {
    let texts = [
        "",
        "amount",
        "$.",
        "$.a-b",
        "$.a b",
        "$ .a",
        "$.a.",
        "$.5",
        "$.a[",
        "$.a[0",
        "$.a[?@.b >]",
        "$.a['b",
        "$.a[x]",
        "$.a[01]",
    ];
    assert_snapshot!(errors(&texts), @r#"
    : 1 expected a path that starts with `$`, found ""
    amount: 1 expected a path that starts with `$`, found "amount"
    $.: 3 expected a JSONPath (RFC 9535), which does not end here
    $.a-b: 4 expected `.name`, `[…]` or the end of the path, found `-b`; a name with other characters is written ['x-y']
    $.a b: 4 expected `.name`, `[…]` or the end of the path, found ` b`
    $ .a: 2 expected `.name`, `[…]` or the end of the path, found ` .a`
    $.a.: 5 expected a JSONPath (RFC 9535), which does not end here
    $.5: 3 expected a JSONPath (RFC 9535), found `5` here
    $.a[: 4 expected a `]` for this `[`
    $.a[0: 4 expected a `]` for this `[`
    $.a[?@.b >]: 11 expected a JSONPath (RFC 9535), found `]` here
    $.a['b: 4 expected a `]` for this `[`
    $.a[x]: 5 expected a JSONPath (RFC 9535), found `x]` here
    $.a[01]: 5 expected a JSONPath (RFC 9535), found `01]` here
    "#);
}

#[test]
fn a_path_that_costs_too_much_is_refused() {
    let union = "$[0,0][0,0][0,0][0,0][0,0][0,0][0,0]";
    let pattern = format!("$[?match(@, '{}')]", "a".repeat(65));
    let texts = [
        "$..*..*",
        "$..a[?@..b]",
        union,
        "$[?$.a[*]]",
        "$[?count($..*) > 1]",
        "$[?in(@.a, $.b)]",
        "$[?match(@, 'a{9}')]",
        "$[?match(@, '\\\\pL')]",
        "$[?search(@.a, @.b)]",
        "$[?count(count(count(count(count(@)))))]",
        &pattern,
    ];
    assert_snapshot!(errors(&texts), @r"
    $..*..*: 1 expected at most one `..` in a path
    $..a[?@..b]: 1 expected at most one `..` in a path
    $[0,0][0,0][0,0][0,0][0,0][0,0][0,0]: 1 expected fewer selectors in brackets: at most 64, multiplied
    $[?$.a[*]]: 1 expected a path of names and indexes where a filter starts from `$`
    $[?count($..*) > 1]: 1 expected a path of names and indexes where a filter starts from `$`
    $[?in(@.a, $.b)]: 1 expected one of the functions length, count, value, match, search
    $[?match(@, 'a{9}')]: 1 expected a pattern written out in quotes, of at most 64 ASCII characters, without `{` and with `\` only before punctuation
    $[?match(@, '\\pL')]: 1 expected a pattern written out in quotes, of at most 64 ASCII characters, without `{` and with `\` only before punctuation
    $[?search(@.a, @.b)]: 1 expected a pattern written out in quotes, of at most 64 ASCII characters, without `{` and with `\` only before punctuation
    $[?count(count(count(count(count(@)))))]: 33 expected a path that nests less deeply
    $[?match(@, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')]: 1 expected a pattern written out in quotes, of at most 64 ASCII characters, without `{` and with `\` only before punctuation
    ");
}

#[test]
fn the_last_affordable_path_is_accepted() {
    let pattern = format!("$[?match(@, '{}')]", "a".repeat(64));
    for text in
        ["$..*", "$[0,0][0,0][0,0][0,0][0,0][0,0]", "$[?$.a]", "$[?match(@, 'a\\\\.b')]", &pattern]
    {
        assert!(Path::parse(text).is_ok(), "{}", error(text));
    }
}

#[test]
fn the_length_of_a_path_has_a_bound() {
    let of_bytes = |bytes: usize| format!("$.{}", "a".repeat(bytes - 2));
    assert!(Path::parse(&of_bytes(1_000)).is_ok());
    assert!(error(&of_bytes(1_001)).ends_with("1 expected a path of at most 1000 bytes"));
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "x y", "", "it's", "ü", "0", "back\\slash"])
}

fn any_document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9..9_i64).prop_map(Value::from),
        Just(json!("text"))
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_name().prop_map(String::from), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_singular_path() -> impl Strategy<Value = String> {
    let name = any_name()
        .prop_map(|name| format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")));
    let step = prop_oneof![name, (-4..4_i64).prop_map(|index| format!("[{index}]"))];
    prop::collection::vec(step, 0..5).prop_map(|steps| format!("${}", steps.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_walk_agrees_with_the_query(text in any_singular_path(), document in any_document()) {
        let walked = Path::parse(&text).unwrap();
        prop_assert!(walked.is_singular());
        let query = parse_json_path(&text).unwrap();
        let queried = query_nodes(&query, &document);
        let selected = walked.select(&document);
        prop_assert_eq!(selected.as_slice(), &*queried);
    }

    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), "[$@.a\\[\\]()'\"?*:,0-9<=&| !-]{0,60}", "\\$[.a\\[\\]()'\"?*:,@0-9<=& !-]{0,60}"]) {
        if let Err(error) = Path::parse(&text) {
            prop_assert!(text.is_char_boundary(error.at), "{} in {text:?}", error.at);
        }
    }
}
