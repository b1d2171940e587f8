//! Filters as Protobuf clients write them: `FilterNode` with op = 1, key = 2, cmp = 3, val = 4, vals = 5 and nodes = 6, all of them
//! strings or messages behind their lengths.

use super::Written;
use crate::limits::{FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX};

pub(super) fn read(written: &[u8]) -> Option<Written> {
    node(written, 1)
}

fn node(mut rest: &[u8], depth: usize) -> Option<Written> {
    if depth > FILTER_DEPTH_MAX {
        return None;
    }
    let mut written = Written::default();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let (field, kind) = (tag >> 3, tag & 7);
        // Fields that are not known here may be of any kind: what a later protocol adds would have to be honoured.
        if kind != 2 {
            return None;
        }
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let (value, after) = rest.split_at_checked(length)?;
        rest = after;
        let text = || std::str::from_utf8(value).ok().map(str::to_owned);
        match field {
            1 => written.op = text()?,
            2 => written.key = text()?,
            3 => written.cmp = text()?,
            4 => written.val = text()?,
            5 if written.vals.len() < FILTER_VALUES_MAX => written.vals.push(text()?),
            6 if written.nodes.len() < FILTER_NODES_MAX => written.nodes.push(node(value, depth + 1)?),
            _ => return None,
        }
    }
    Some(written)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
