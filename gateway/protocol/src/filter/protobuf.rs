//! Filters as Protobuf clients write them: `FilterNode` with op = 1, key = 2, cmp = 3, val = 4, vals = 5 and nodes = 6, all of them
//! strings or messages behind their lengths.

use std::borrow::Cow;

use super::Written;
use crate::{
    limits::{FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX},
    protobuf::Fields,
};

pub(super) fn read(written: &[u8]) -> Option<Written> {
    node(written, 1)
}

fn node(bytes: &[u8], depth: usize) -> Option<Written> {
    if depth > FILTER_DEPTH_MAX {
        return None;
    }
    let mut written = Written::default();
    for field in Fields::new(bytes) {
        let (number, value) = field.ok()?;
        let text = || value.text().ok().map(Cow::into_owned);
        match number {
            1 => written.op = text()?,
            2 => written.key = text()?,
            3 => written.cmp = text()?,
            4 => written.val = text()?,
            5 if written.vals.len() < FILTER_VALUES_MAX => written.vals.push(text()?),
            6 if written.nodes.len() < FILTER_NODES_MAX => {
                written.nodes.push(node(value.bytes().ok()?, depth + 1)?);
            }
            // What a later protocol adds would have to be honoured.
            _ => return None,
        }
    }
    Some(written)
}
