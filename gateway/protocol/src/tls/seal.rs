//! The sending half of a connection: data, alerts and key updates become records.

use super::error::{Misbehaviour, TlsError};
use super::keys::SealingKeys;
use super::limits::{BLOCKS_PER_KEY_MAX, OVERHEAD_BYTES_MAX, PLAINTEXT_BYTES_MAX, RECORDS_PER_KEY_MAX};
use super::message::key_update;
use super::record::{self, ALERT, DATA, HANDSHAKE};
use super::schedule;
use super::state::{Field, Traffic, View};
use super::suite::Suite;

/// Sequence numbers that are kept back for the alert that ends a connection.
const RESERVED: u64 = 8;
const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;

impl Traffic {
    /// Appends `plain` to `out` as records of at most 2^14 bytes, and before it a key update that is due.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let suite = self.suite();
        let mut send = self.sending(suite);
        out.reserve(plain.len() + OVERHEAD_BYTES_MAX);
        for part in plain.chunks(PLAINTEXT_BYTES_MAX) {
            ready(suite, &mut send, part.len(), out)?;
            record(suite, &mut send, DATA, part, out)?;
        }
        Ok(())
    }

    /// The same for plaintext that `write` appends to `out` itself, which spares copying it. More than a record's worth
    /// becomes several, of which the later ones are copied; nothing becomes none. After an error `out` is without it.
    pub fn seal_with(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TlsError> {
        self.seal_by(None, out, write)
    }

    /// The same with a key from the table, where it gets `place`.
    pub fn seal_from(
        &mut self,
        keys: &mut SealingKeys,
        place: usize,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TlsError> {
        self.seal_by(Some((keys, place)), out, write)
    }

    #[inline]
    fn seal_by(
        &mut self,
        keys: Option<(&mut SealingKeys, usize)>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TlsError> {
        let suite = self.suite();
        let mut send = self.sending(suite);
        ready(suite, &mut send, 0, out)?;
        let at = out.len();
        let start = at + record::prefix_bytes(suite);
        out.resize(start, 0);
        write(out);
        debug_assert!(out.len() >= start, "`write` only appends");
        let plain = out.len().saturating_sub(start);
        if plain == 0 {
            out.truncate(at);
            return Ok(());
        }
        let rest = (plain > PLAINTEXT_BYTES_MAX).then(|| out.split_off(start + PLAINTEXT_BYTES_MAX));
        let mut sealed = count(suite, &mut send, plain.min(PLAINTEXT_BYTES_MAX)).and_then(|()| match keys {
            Some((keys, place)) => {
                let key = keys.get(place, suite, send.key)?;
                record::seal_by(key, suite, &mut send, DATA, at, out)
            }
            None => record::seal(suite, &mut send, DATA, at, out),
        });
        if let (Ok(()), Some(rest)) = (&sealed, rest) {
            sealed = self.seal(&rest, out);
        }
        if sealed.is_err() {
            out.truncate(at);
        }
        sealed
    }

    /// Appends a close_notify; nothing can be sealed afterwards. What the peer still sends can be opened.
    pub fn seal_close(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.end([WARNING, CLOSE_NOTIFY], out)
    }

    /// Appends the alert that answers `misbehaviour`, if there is one; nothing can be sealed afterwards.
    pub fn seal_alert(&mut self, misbehaviour: Misbehaviour, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let Some(alert) = misbehaviour.alert() else {
            let suite = self.suite();
            self.sending(suite).put(Field::ENDED, 1);
            return Ok(());
        };
        // RFC 5246 §7.2.2: no_renegotiation is always a warning.
        let level = if misbehaviour == Misbehaviour::Renegotiation { WARNING } else { FATAL };
        self.end([level, u8::from(alert)], out)
    }

    /// Appends a key update that asks for one of the peer, and changes the sending key.
    pub fn request_key_update(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        let suite = self.suite();
        if !suite.is_tls13() {
            return Err(TlsError::NoKeyUpdate);
        }
        let mut send = self.sending(suite);
        if send.field(Field::ENDED) == 1 {
            return Err(TlsError::Closed);
        }
        update(suite, &mut send, true, out)
    }

    fn end(&mut self, alert: [u8; 2], out: &mut Vec<u8>) -> Result<(), TlsError> {
        let suite = self.suite();
        let mut send = self.sending(suite);
        if send.field(Field::ENDED) == 1 {
            return Ok(());
        }
        send.put(Field::ENDED, 1);
        record(suite, &mut send, ALERT, &alert, out)
    }
}

/// Sees to it that the sending key may protect one more record of data.
#[inline]
fn ready(suite: Suite, send: &mut View<'_>, plain: usize, out: &mut Vec<u8>) -> Result<(), TlsError> {
    if send.field(Field::ENDED) == 1 {
        return Err(TlsError::Closed);
    }
    if suite.is_tls13() {
        if send.field(Field::OWED) == 1 || send.field(Field::SEQUENCE) >= RECORDS_PER_KEY_MAX - RESERVED {
            update(suite, send, false, out)?;
        }
        return Ok(());
    }
    count(suite, send, plain)
}

/// Counts what a TLS 1.2 key protects (RFC 8446 §5.5 gives the limit, which has the same ground there).
#[inline]
fn count(suite: Suite, send: &mut View<'_>, plain: usize) -> Result<(), TlsError> {
    if suite.is_tls13() {
        return Ok(());
    }
    if send.field(Field::SEQUENCE) >= super::limits::SEQUENCE_MAX - RESERVED {
        return Err(TlsError::Exhausted);
    }
    if suite.has_explicit_nonce() {
        // One block for the tag, one for a part.
        let blocks = send.blocks() + (plain as u64).div_ceil(16) + 1;
        if blocks > BLOCKS_PER_KEY_MAX {
            return Err(TlsError::Exhausted);
        }
        send.set_blocks(blocks);
    }
    Ok(())
}

/// Appends a key update and changes the sending key; that settles one that is owed.
fn update(suite: Suite, send: &mut View<'_>, request: bool, out: &mut Vec<u8>) -> Result<(), TlsError> {
    record(suite, send, HANDSHAKE, &key_update(request), out)?;
    send.put(Field::OWED, 0);
    schedule::advance(suite, send)
}

/// Appends one record with a copy of `plain`.
#[inline]
fn record(
    suite: Suite,
    send: &mut View<'_>,
    kind: u8,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let at = out.len();
    out.reserve(plain.len() + OVERHEAD_BYTES_MAX + 1);
    out.resize(at + record::prefix_bytes(suite), 0);
    out.extend_from_slice(plain);
    let sealed = record::seal(suite, send, kind, at, out);
    if sealed.is_err() {
        out.truncate(at);
    }
    sealed
}
