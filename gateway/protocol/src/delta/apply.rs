//! What a client makes of a delta, for the client side (load generator, tests): any server's, written from the format's description.
//!
//! Shares nothing with the making of deltas, so that neither hides the other's mistakes. Never panics on what it is given.

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// The target of a source and a delta; `None`: they do not belong together.
pub fn apply(source: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta;
    let length = number(&mut rest);
    (byte(&mut rest)? == b'\n').then_some(())?;
    let mut target = Vec::new();
    loop {
        let count = number(&mut rest);
        match byte(&mut rest)? {
            b'@' => {
                let from = number(&mut rest);
                (byte(&mut rest)? == b',').then_some(())?;
                target.extend_from_slice(source.get(from..from.checked_add(count)?)?);
            }
            b':' => {
                let (inserted, after) = rest.split_at_checked(count)?;
                target.extend_from_slice(inserted);
                rest = after;
            }
            b';' => {
                let whole = rest.is_empty() && target.len() == length && checksum(&target) as usize == count;
                return whole.then_some(target);
            }
            _ => return None,
        }
        if target.len() > length {
            return None;
        }
    }
}

fn number(rest: &mut &[u8]) -> usize {
    let mut value = 0usize;
    while let Some((first, after)) = rest.split_first()
        && let Some(digit) = DIGITS.iter().position(|other| other == first)
    {
        value = value.wrapping_shl(6) | digit;
        *rest = after;
    }
    value
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

/// The sum of the target's words, most significant byte first, the last filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0, |sum: u32, chunk| {
        let word = chunk.iter().enumerate().map(|(at, byte)| u32::from(*byte) << (24 - 8 * at));
        word.fold(sum, u32::wrapping_add)
    })
}
