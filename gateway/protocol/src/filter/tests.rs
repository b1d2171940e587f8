//! Filters as clients write them, and what they let through.

use proptest::prelude::*;
use serde_json::{Value, json};
use wire::tags::TagsBuf;

use super::*;

fn filter(value: &Value) -> Option<Filter> {
    Filter::read(Encoding::Json, value.to_string().as_bytes())
}

fn passes(value: &Value, tags: &[(&str, &str)]) -> bool {
    let packed = TagsBuf::pack(tags.iter().copied()).unwrap();
    filter(value).unwrap().matches(packed.as_tags())
}

fn tag(cmp: &str, val: &str) -> Value {
    json!({ "key": "t", "cmp": cmp, "val": val })
}

/// The same in Protobuf, as the protocol's definition has it.
fn protobuf(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |field: u8, bytes: &[u8]| {
        out.push(field << 3 | 2);
        let mut length = bytes.len();
        while length >= 128 {
            out.push((length & 127) as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
    };
    for (field, name) in [(1, "op"), (2, "key"), (3, "cmp"), (4, "val")] {
        if let Some(text) = value[name].as_str() {
            put(field, text.as_bytes());
        }
    }
    for text in value["vals"].as_array().into_iter().flatten() {
        put(5, text.as_str().unwrap().as_bytes());
    }
    for node in value["nodes"].as_array().into_iter().flatten() {
        put(6, &protobuf(node));
    }
    out
}

#[test]
fn every_comparison_compares() {
    for (cmp, val, passing, failing) in [
        ("eq", "b", "b", "c"),
        ("neq", "b", "c", "b"),
        ("sw", "ab", "abc", "bab"),
        ("ew", "ab", "cab", "abc"),
        ("ct", "ab", "cabc", "acb"),
        ("gt", "9", "10", "9"),
        ("gte", "9.5", "9.50", "9.4"),
        ("lt", "-1", "-2", "0"),
        ("lte", "3", "3.0", "3.1"),
    ] {
        assert!(passes(&tag(cmp, val), &[("t", passing)]), "{cmp} {passing}");
        assert!(!passes(&tag(cmp, val), &[("t", failing)]), "{cmp} {failing}");
        // Only "is not" holds where there is no such tag.
        assert_eq!(passes(&tag(cmp, val), &[("other", passing)]), cmp == "neq", "{cmp}");
    }
    let list = |cmp: &str| json!({ "key": "t", "cmp": cmp, "vals": ["a", "b"] });
    assert!(passes(&list("in"), &[("t", "b")]) && !passes(&list("in"), &[("t", "c")]));
    assert!(passes(&list("nin"), &[("t", "c")]) && !passes(&list("nin"), &[("t", "a")]));
    assert!(!passes(&list("in"), &[]) && passes(&list("nin"), &[]));
    let exists = |cmp: &str| json!({ "key": "t", "cmp": cmp });
    assert!(passes(&exists("ex"), &[("t", "")]) && !passes(&exists("ex"), &[]));
    assert!(passes(&exists("nex"), &[]) && !passes(&exists("nex"), &[("t", "")]));
    assert!(!passes(&tag("gt", "1"), &[("t", "many")]) && !passes(&tag("gt", "few"), &[("t", "1")]));
}

#[test]
fn comparisons_combine() {
    let both = json!({ "op": "and", "nodes": [tag("gt", "1"), tag("lt", "3")] });
    let either = json!({ "op": "or", "nodes": [tag("eq", "1"), tag("eq", "3")] });
    let neither = json!({ "op": "not", "nodes": [either] });
    for (value, expected) in
        [("1", [false, true, false]), ("2", [true, false, true]), ("3", [false, true, false])]
    {
        let found = [&both, &either, &neither].map(|filter| passes(filter, &[("t", value)]));
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for value in [
        json!({}),
        json!({ "op": "xor", "nodes": [tag("eq", "a")] }),
        json!({ "op": "and" }),
        json!({ "op": "not", "nodes": [tag("eq", "a"), tag("eq", "b")] }),
        json!({ "op": "or", "nodes": [{}] }),
        json!({ "key": "t", "cmp": "eq" }),
        json!({ "cmp": "eq", "val": "a" }),
        json!({ "key": "t", "cmp": "like", "val": "a" }),
        json!({ "key": "t", "cmp": "in" }),
        json!({ "key": "t", "cmp": "in", "val": "a", "vals": ["a"] }),
        json!({ "key": "t", "cmp": "eq", "val": "a", "vals": ["a"] }),
        json!({ "key": "t", "cmp": "ex", "val": "a" }),
        json!({ "key": 1, "cmp": "ex" }),
        json!([]),
    ] {
        assert_eq!(filter(&value), None, "{value}");
        assert_eq!(Filter::read(Encoding::Json, b"{"), None);
    }
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let many = |count: usize| json!({ "op": "or", "nodes": vec![tag("eq", "a"); count] });
    assert!(filter(&many(FILTER_NODES_MAX - 1)).is_some() && filter(&many(FILTER_NODES_MAX)).is_none());
    let deep =
        |levels: usize| (1..levels).fold(tag("eq", "a"), |node, _| json!({ "op": "not", "nodes": [node] }));
    assert!(filter(&deep(FILTER_DEPTH_MAX)).is_some() && filter(&deep(FILTER_DEPTH_MAX + 1)).is_none());
    assert!(filter(&tag("eq", &"x".repeat(FILTER_BYTES_MAX))).is_none());
    let list = |count: usize| json!({ "key": "t", "cmp": "in", "vals": vec!["a"; count] });
    assert!(filter(&list(FILTER_VALUES_MAX)).is_some() && filter(&list(FILTER_VALUES_MAX + 1)).is_none());
}

#[test]
fn both_encodings_say_the_same() {
    let value = json!({ "op": "and", "nodes": [
        { "op": "not", "nodes": [{ "key": "a", "cmp": "in", "vals": ["1", "2"] }] }, tag("sw", &"x".repeat(200)),
    ] });
    let bytes = protobuf(&value);
    let read = protobuf::read(&bytes).and_then(|root| root.checked(1, &mut 0)).map(Filter);
    assert!(read.is_some());
    assert_eq!(read, filter(&value));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = protobuf::read(&bytes).and_then(|root| root.checked(1, &mut 0));
        let _ = Filter::read(Encoding::Json, &bytes);
    }
}
