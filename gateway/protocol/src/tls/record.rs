//! One record: header, nonce, additional data and AEAD, in place, for both versions. Knows nothing of what is inside.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::error::{Misbehaviour, TlsError};
use super::limits::{
    BODY_TLS12_BYTES_MAX, BODY_TLS13_BYTES_MAX, EXPLICIT_NONCE_BYTES, HEADER_BYTES, PLAINTEXT_BYTES_MAX,
    SEQUENCE_MAX, TAG_BYTES,
};
use super::state::{Field, View};
use super::suite::Suite;

/// Record types (RFC 8446 §5.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// The version field of every record: what TLS 1.2 is, and what TLS 1.3 pretends to be.
const VERSION: [u8; 2] = [3, 3];

/// Bytes in front of the plaintext of a record that is being written.
pub(super) const fn prefix_bytes(suite: Suite) -> usize {
    if suite.has_explicit_nonce() { HEADER_BYTES + EXPLICIT_NONCE_BYTES } else { HEADER_BYTES }
}

/// Checks a header; returns the length of the whole record.
pub(super) fn length(suite: Suite, header: [u8; HEADER_BYTES]) -> Result<usize, Misbehaviour> {
    let [kind, _, _, high, low] = header;
    let body = usize::from(u16::from_be_bytes([high, low]));
    let (allowed, body_max) = if suite.is_tls13() {
        // After the handshake every record is protected, and protected records have this type (RFC 8446 §5).
        (kind == DATA, BODY_TLS13_BYTES_MAX)
    } else {
        (matches!(kind, CHANGE_CIPHER_SPEC..=DATA), BODY_TLS12_BYTES_MAX)
    };
    if !allowed {
        return Err(Misbehaviour::Unexpected);
    }
    if body > body_max {
        return Err(Misbehaviour::Overflow);
    }
    Ok(HEADER_BYTES + body)
}

/// Opens a whole record in place; returns its true type and content.
pub(super) fn open<'a>(
    suite: Suite,
    half: &mut View<'_>,
    record: &'a mut [u8],
) -> Result<(u8, &'a mut [u8]), Misbehaviour> {
    let sequence = half.field(Field::SEQUENCE);
    if sequence == SEQUENCE_MAX {
        return Err(Misbehaviour::Exhausted);
    }
    let (header, body) = record.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Misbehaviour::Decode)?;
    let mut nonce = nonce(half.iv, sequence);
    let body = if suite.has_explicit_nonce() {
        let (explicit, body) =
            body.split_first_chunk_mut::<EXPLICIT_NONCE_BYTES>().ok_or(Misbehaviour::BadMac)?;
        nonce[NONCE_LEN - EXPLICIT_NONCE_BYTES..].copy_from_slice(explicit);
        body
    } else {
        body
    };
    let (content, tag) = body.split_last_chunk_mut::<TAG_BYTES>().ok_or(Misbehaviour::BadMac)?;

    let key = key(suite, half.key).map_err(|_| Misbehaviour::Internal)?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let opened = if suite.is_tls13() {
        key.open_in_place_separate_tag(nonce, Aad::from(*header), tag, content)
    } else {
        let aad = additional(sequence, *header, content.len());
        key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, content)
    };
    let content = opened.map_err(|_| Misbehaviour::BadMac)?;
    half.put(Field::SEQUENCE, sequence + 1);

    if !suite.is_tls13() {
        if content.len() > PLAINTEXT_BYTES_MAX {
            return Err(Misbehaviour::Overflow);
        }
        return Ok((header[0], content));
    }
    // RFC 8446 §5.4: the type is the last byte that is not zero; padding counts towards the limit.
    if content.len() > PLAINTEXT_BYTES_MAX + 1 {
        return Err(Misbehaviour::Overflow);
    }
    let end = content.iter().rposition(|&byte| byte != 0).ok_or(Misbehaviour::Unexpected)?;
    let kind = content[end];
    Ok((kind, &mut content[..end]))
}

/// Seals in place the plaintext that begins [`prefix_bytes`] after `at` and ends the buffer. The caller has seen to the
/// limits of the key.
pub(super) fn seal(
    suite: Suite,
    half: &mut View<'_>,
    kind: u8,
    at: usize,
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let key = key(suite, half.key)?;
    seal_by(&key, suite, half, kind, at, out)
}

/// The same by a key that is set up.
#[inline]
pub(super) fn seal_by(
    key: &LessSafeKey,
    suite: Suite,
    half: &mut View<'_>,
    kind: u8,
    at: usize,
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let start = at + prefix_bytes(suite);
    let plain = out.len() - start;
    debug_assert!(plain <= PLAINTEXT_BYTES_MAX, "the caller has split it");
    let sequence = half.field(Field::SEQUENCE);
    if sequence == SEQUENCE_MAX {
        return Err(TlsError::Exhausted);
    }
    let nonce = nonce(half.iv, sequence);

    let (header, tag) = if suite.is_tls13() {
        out.push(kind);
        let header = header(DATA, plain + 1 + TAG_BYTES);
        let nonce = Nonce::assume_unique_for_key(nonce);
        (header, key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[start..])?)
    } else {
        if suite.has_explicit_nonce() {
            out[at + HEADER_BYTES..start].copy_from_slice(&nonce[NONCE_LEN - EXPLICIT_NONCE_BYTES..]);
        }
        let header = header(kind, start - at - HEADER_BYTES + plain + TAG_BYTES);
        let aad = additional(sequence, header, plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        (header, key.seal_in_place_separate_tag(nonce, Aad::from(aad), &mut out[start..])?)
    };
    out.extend_from_slice(tag.as_ref());
    out[at..at + HEADER_BYTES].copy_from_slice(&header);
    half.put(Field::SEQUENCE, sequence + 1);
    Ok(())
}

/// Set up afresh for most records: 0.15 µs (and an allocation that the library erases and frees) next to the system call that
/// goes with it, and nothing to keep. Broadcasts take theirs from [`super::SealingKeys`].
#[inline]
pub(super) fn key(suite: Suite, bytes: &[u8]) -> Result<LessSafeKey, TlsError> {
    Ok(LessSafeKey::new(UnboundKey::new(suite.aead(), bytes)?))
}

/// RFC 8446 §5.3, RFC 7905 §2. For AES-GCM in TLS 1.2, sending: the same with the IV that rustls chose, whose first four
/// bytes are the salt.
#[inline]
fn nonce(iv: &[u8; NONCE_LEN], sequence: u64) -> [u8; NONCE_LEN] {
    let mut nonce = *iv;
    for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(sequence.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}

#[inline]
fn header(kind: u8, body: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(body <= BODY_TLS12_BYTES_MAX);
    let [high, low] = (body as u16).to_be_bytes();
    [kind, VERSION[0], VERSION[1], high, low]
}

/// Additional data of TLS 1.2 (RFC 5246 §6.2.3.3).
fn additional(sequence: u64, header: [u8; HEADER_BYTES], plain: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&sequence.to_be_bytes());
    aad[8..11].copy_from_slice(&header[..3]);
    aad[11..].copy_from_slice(&(plain as u16).to_be_bytes());
    aad
}
