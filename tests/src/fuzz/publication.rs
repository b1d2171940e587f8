//! What becomes of a publication on its way to those who asked for less of it: only what a filter lets through, only how it differs
//! from the one before, compressed. Nothing is made of it that does not become the publication again.

use std::rc::Rc;

use protocol::{
    client::encoding::Encoding,
    delta,
    filter::Filter,
    ws::{Compression, Deflater, Item, Limits, Opcode, Reader, Role, frame},
};
use serde_json::Value;
use wire::tags::TagsBuf;

use super::Script;

/// A filter as Protobuf and JSON clients write it, a tag, the publication before, then the publication.
pub(super) fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let filter = script.stretch();
    let (name, value) = (script.stretch(), script.stretch());
    let tags = match (std::str::from_utf8(name), std::str::from_utf8(value)) {
        (Ok(name), Ok(value)) => TagsBuf::pack([(name, value), ("t", "1.5")]).unwrap_or_default(),
        _ => TagsBuf::default(),
    };
    filtered(filter, &tags);
    let before = script.stretch();
    difference(before, script.0);
    compressed(script.0);
}

/// Both encodings of a filter mean the same, and its opposite lets through the rest.
fn filtered(written: &[u8], tags: &TagsBuf) {
    if let Some(filter) = Filter::read(Encoding::Protobuf, written) {
        filter.matches(tags.as_tags());
    }
    let Some(filter) = Filter::read(Encoding::Json, written) else { return };
    let passes = filter.matches(tags.as_tags());
    let Ok(value) = serde_json::from_slice::<Value>(written) else { return };
    if let Some(same) = Filter::read(Encoding::Protobuf, &in_protobuf(&value)) {
        assert_eq!(same, filter);
    }
    let opposite = serde_json::json!({ "op": "not", "nodes": [value] }).to_string();
    if let Some(opposite) = Filter::read(Encoding::Json, opposite.as_bytes()) {
        assert_ne!(opposite.matches(tags.as_tags()), passes);
    }
}

fn in_protobuf(node: &Value) -> Vec<u8> {
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
        if let Some(text) = node[name].as_str() {
            put(field, text.as_bytes());
        }
    }
    for text in node["vals"].as_array().into_iter().flatten() {
        put(5, text.as_str().unwrap_or_default().as_bytes());
    }
    for node in node["nodes"].as_array().into_iter().flatten() {
        put(6, &in_protobuf(node));
    }
    out
}

fn difference(before: &[u8], after: &[u8]) {
    // As a delta, too, it harms nobody who applies it.
    let _ = delta::apply(before, after);
    let Some(delta) = delta::create(before, after) else { return };
    assert!(delta.len() < after.len());
    assert_eq!(delta::apply(before, &delta).as_deref(), Some(after));
    if std::str::from_utf8(before).is_ok() && std::str::from_utf8(after).is_ok() {
        assert!(std::str::from_utf8(&delta).is_ok(), "a difference of texts is a text");
    }
}

fn compressed(message: &[u8]) {
    let mut plain = Vec::new();
    frame(Opcode::Binary, message, &mut plain);
    let plain: Rc<[u8]> = plain.into();
    for level in [1, 9] {
        let mut deflater = Deflater::new(Compression { bytes_min: 0, level });
        let once = deflater.frame(&plain);
        assert!(once.len() <= plain.len());
        let limits = Limits { message_bytes_max: message.len().max(1), deflate: true };
        let mut input = once.to_vec();
        let mut reader = Reader::new();
        match reader.next(Role::Client, &mut input, &limits) {
            Ok((consumed, Item::Binary(read))) => assert_eq!((consumed, &*read), (once.len(), message)),
            other => panic!("a message, not {other:?}"),
        }
        assert_eq!(deflater.frame(&plain), once, "nothing of a message is left in the compressor");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let filters = [
        r#"{"key":"t","cmp":"eq","val":"1.5"}"#,
        r#"{"op":"and","nodes":[{"key":"t","cmp":"gte","val":"-1"},{"key":"n","cmp":"in","vals":["a","b"]}]}"#,
        r#"{"op":"not","nodes":[{"op":"or","nodes":[{"key":"n","cmp":"sw","val":"a"},{"key":"n","cmp":"nex"}]}]}"#,
        "",
    ];
    let texts = [
        (r#"{"home":1,"away":0,"minute":17,"by":"Ömer"}"#, r#"{"home":1,"away":1,"minute":18,"by":"Ömür"}"#),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaab"),
        ("one two three four five six seven", "five six seven one two three four"),
        ("", "x"),
    ];
    let mut seeds = Vec::new();
    for (filter, (before, after)) in filters.iter().zip(texts) {
        let protobuf = serde_json::from_str(filter).map_or_else(|_| Vec::new(), |value| in_protobuf(&value));
        for filter in [filter.as_bytes(), &protobuf] {
            let parts = [filter, b"n", b"abc", before.as_bytes()].map(|part| {
                let length = part.len() as u8;
                [&[length][..], part].concat()
            });
            seeds.push([&parts.concat(), after.as_bytes()].concat());
        }
    }
    seeds
}
