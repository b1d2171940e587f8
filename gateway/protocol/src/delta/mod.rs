//! Differences between two payloads, in the delta format of the Fossil version control system, which the official SDKs apply.
//!
//! A delta is the target's length, then parts that are copied from the source or inserted, then a checksum of the target; numbers
//! are in a base 64 of their own. Owns how differences are found. Never keeps a payload.

mod apply;
mod matches;
#[cfg(test)]
mod tests;

pub use apply::apply;

use crate::limits::DELTA_BYTES_MAX;
use matches::Finder;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
/// Shorter copies are not worth their command.
const COPY_BYTES_MIN: usize = 8;

/// The difference that makes `target` of `source`, if it is smaller than `target` and both are small enough to look for one.
/// Where both are UTF-8, so is every inserted part, and with that the whole.
pub fn create(source: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if source.len().max(target.len()) > DELTA_BYTES_MAX || target.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(source).is_ok() && std::str::from_utf8(target).is_ok();
    let mut delta = Delta { target, text, written: 0, out: Vec::new() };
    number(target.len(), &mut delta.out);
    delta.out.push(b'\n');
    // Most updates change a little in the middle: what is equal at both ends needs no search.
    let (head, tail) = equal_ends(source, target);
    delta.copy(0, 0, head);
    let (end, source_end) = (target.len() - tail, source.len() - tail);
    let finder = Finder::new(&source[..source_end]);
    let mut at = head;
    while at < end && delta.out.len() < target.len() {
        match finder.longest(&target[..end], at, delta.written) {
            Some(found) if found.length >= COPY_BYTES_MIN => {
                delta.copy(found.source, found.target, found.length);
                at = found.target + found.length;
            }
            _ => at += 1,
        }
    }
    delta.copy(source_end, end, tail);
    delta.insert(target.len());
    number(checksum(target) as usize, &mut delta.out);
    delta.out.push(b';');
    (delta.out.len() < target.len()).then_some(delta.out)
}

/// A delta being written.
struct Delta<'a> {
    target: &'a [u8],
    /// Parts begin and end between characters.
    text: bool,
    /// Bytes of the target that are written.
    written: usize,
    out: Vec<u8>,
}

impl Delta<'_> {
    /// Copies a part of the source that is equal to a part of the target, or what of it begins and ends between characters, after
    /// inserting all before it.
    fn copy(&mut self, source: usize, target: usize, length: usize) {
        let (mut start, mut end) = (target, target + length);
        while self.text && start < end && !self.between_characters(start) {
            start += 1;
        }
        while self.text && end > start && !self.between_characters(end) {
            end -= 1;
        }
        if end - start < COPY_BYTES_MIN {
            return;
        }
        self.insert(start);
        number(end - start, &mut self.out);
        self.out.push(b'@');
        number(source + (start - target), &mut self.out);
        self.out.push(b',');
        self.written = end;
    }

    /// Inserts the target up to `end`.
    fn insert(&mut self, end: usize) {
        debug_assert!(self.written <= end, "parts are in order");
        if self.written < end {
            number(end - self.written, &mut self.out);
            self.out.push(b':');
            self.out.extend_from_slice(&self.target[self.written..end]);
            self.written = end;
        }
    }

    /// RFC 3629 §3: a byte of a character that is not its first begins with the bits 10.
    fn between_characters(&self, at: usize) -> bool {
        self.target.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
    }
}

/// Lengths of what is equal at the start and (not counting that again) at the end.
fn equal_ends(source: &[u8], target: &[u8]) -> (usize, usize) {
    let head = source.iter().zip(target).take_while(|(a, b)| a == b).count();
    let rest = source[head..].iter().rev().zip(target[head..].iter().rev());
    (head, rest.take_while(|(a, b)| a == b).count())
}

/// Sum of the big-endian words, the last one filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    let word = |chunk: &[u8]| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_be_bytes(word)
    };
    bytes.chunks(4).fold(0, |sum: u32, chunk| sum.wrapping_add(word(chunk)))
}

fn number(mut value: usize, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(DIGITS[value & 63]);
        value >>= 6;
        if value == 0 {
            break;
        }
    }
    out[start..].reverse();
}
