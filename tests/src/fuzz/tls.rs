//! Records of an established TLS connection: a peer that holds the right keys does as a script says, right and wrong.

use std::ops::ControlFlow;

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk},
};
use protocol::tls::{Keys, Misbehaviour, Opened, Suite, Traffic, Version};

use super::Script;

const DATA: u8 = 23;
const HANDSHAKE: u8 = 22;
/// The longest record there is: five bytes of header, 2^14 of plaintext, 2048 of expansion (TLS 1.2).
const RECORD_BYTES_MAX: usize = 5 + 16_384 + 2048;

/// Two bytes choose suite and side; then come steps.
pub(super) fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (Some(suite), Some(side)) = (script.byte(), script.byte()) else { return };
    let suite = Suite::ALL[usize::from(suite) % Suite::ALL.len()];
    let mut world = World::new(suite, side & 1 == 1);
    while let Some(step) = script.byte() {
        if world.step(step, &mut script).is_break() {
            break;
        }
    }
}

struct World {
    /// Under test.
    ours: Traffic,
    /// Hears what `ours` sends.
    theirs: Traffic,
    /// Sends to `ours` whatever it likes.
    sealer: Sealer,
    /// So far everything was as it should be.
    honest: bool,
}

impl World {
    fn new(suite: Suite, is_client: bool) -> Self {
        let (here, there) = (Sealer::new(suite, 1), Sealer::new(suite, 2));
        let (client, server) = if is_client { (&here, &there) } else { (&there, &here) };
        let end = |is_client| {
            Traffic::given(suite, is_client, client.keys(), server.keys())
                .expect("invariant: the sealer's keys have the suite's lengths")
        };
        Self { ours: end(is_client), theirs: end(!is_client), sealer: there, honest: true }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) -> ControlFlow<()> {
        match step % 8 {
            0 => self.data(script.stretch()),
            1 => {
                let (kind, padding) = (script.byte().unwrap_or(0), script.byte().unwrap_or(0));
                self.honest = false;
                let record = self.sealer.seal(kind, script.stretch(), usize::from(padding));
                self.give(record).map_continue(drop)
            }
            2 => {
                self.honest = false;
                self.give(script.stretch().to_vec()).map_continue(drop)
            }
            3 => {
                let (at, flip) = (script.byte().unwrap_or(0), script.byte().unwrap_or(0));
                let mut record = self.sealer.seal(DATA, script.stretch(), 0);
                let at = usize::from(at) % record.len();
                record[at] ^= flip;
                self.honest &= flip == 0;
                self.give(record).map_continue(drop)
            }
            4 => self.key_update(script.byte().unwrap_or(0) & 1),
            5 => {
                let short = usize::from(script.byte().unwrap_or(0)) + 1;
                let record = self.sealer.seal(DATA, script.stretch(), 0);
                self.honest = false;
                self.give(record[..record.len().saturating_sub(short)].to_vec()).map_continue(drop)
            }
            6 => self.answer(script.stretch()),
            _ => {
                let mut out = Vec::new();
                let _ = self.ours.request_key_update(&mut out);
                self.heard(out, None)
            }
        }
    }

    /// An ordinary record must come out as it went in.
    fn data(&mut self, content: &[u8]) -> ControlFlow<()> {
        let record = self.sealer.seal(DATA, content, 0);
        let opened = self.give(record)?;
        if self.honest && !content.is_empty() {
            assert_eq!(opened, content);
        }
        ControlFlow::Continue(())
    }

    fn key_update(&mut self, request: u8) -> ControlFlow<()> {
        let record = self.sealer.seal(HANDSHAKE, &[24, 0, 0, 1, request], 0);
        if self.sealer.suite.version() == Version::Tls13 {
            self.sealer.advance();
        } else {
            self.honest = false;
        }
        self.give(record).map_continue(drop)
    }

    /// Opens everything in `input`; data is collected. Ends at an error, after its alert went out.
    fn give(&mut self, mut input: Vec<u8>) -> ControlFlow<(), Vec<u8>> {
        let (mut at, mut data) = (0, Vec::new());
        while at < input.len() {
            let left = input.len() - at;
            let (consumed, opened) = match self.ours.open(&mut input[at..]) {
                Ok(found) => found,
                Err(misbehaviour) => {
                    // Honest peers can only be too eager: with key updates, or with records that hold nothing.
                    assert!(!self.honest || misbehaviour == Misbehaviour::Flood, "{misbehaviour:?}");
                    let mut out = Vec::new();
                    let _ = self.ours.seal_alert(misbehaviour, &mut out);
                    assert!(self.ours.is_ended());
                    assert!(self.ours.seal(b"more", &mut out).is_err(), "nothing follows an alert");
                    return ControlFlow::Break(());
                }
            };
            match opened {
                Opened::Incomplete { need } => {
                    assert!(consumed == 0 && need > left && need <= RECORD_BYTES_MAX);
                    return ControlFlow::Continue(data);
                }
                Opened::Data(content) => {
                    assert!(!content.is_empty() && content.len() < consumed);
                    data.extend_from_slice(content);
                }
                Opened::Nothing => {}
                Opened::Closed => {
                    assert!(self.ours.is_closed());
                    self.honest = false;
                }
            }
            assert!(consumed > 0 && consumed <= left);
            at += consumed;
        }
        ControlFlow::Continue(data)
    }

    /// What `ours` sends is heard whole at the other end, whatever came in before.
    fn answer(&mut self, content: &[u8]) -> ControlFlow<()> {
        let mut out = Vec::new();
        assert!(self.ours.seal(content, &mut out).is_ok(), "only an alert of ours ends sending");
        self.heard(out, Some(content))
    }

    fn heard(&mut self, mut out: Vec<u8>, content: Option<&[u8]>) -> ControlFlow<()> {
        let (mut at, mut heard) = (0, Vec::new());
        while at < out.len() {
            let (consumed, opened) = match self.theirs.open(&mut out[at..]) {
                Ok(found) => found,
                // The script may have asked for too many key updates.
                Err(misbehaviour) => {
                    assert_eq!(misbehaviour, Misbehaviour::Flood);
                    return ControlFlow::Break(());
                }
            };
            if let Opened::Data(data) = opened {
                heard.extend_from_slice(data);
            }
            assert!(consumed > 0, "whole records are sent");
            at += consumed;
        }
        if let Some(content) = content {
            assert_eq!(heard, content);
        }
        ControlFlow::Continue(())
    }
}

/// Protects records of any type and content, by RFC 8446 §5.2 and RFC 5246 §6.2.3.3, independently of the code under test.
struct Sealer {
    suite: Suite,
    key: Vec<u8>,
    iv: [u8; 12],
    secret: Vec<u8>,
    sequence: u64,
}

impl Sealer {
    fn new(suite: Suite, seed: u8) -> Self {
        let (key, secret) = match suite {
            Suite::Aes128 => (16, 32),
            Suite::Aes256 => (32, 48),
            Suite::ChaCha => (32, 32),
            Suite::Aes128Tls12 => (16, 0),
            Suite::Aes256Tls12 | Suite::ChaChaTls12 => (32, 0),
        };
        Self { suite, key: vec![seed; key], iv: [!seed; 12], secret: vec![seed ^ 0x55; secret], sequence: 0 }
    }

    fn keys(&self) -> Keys<'_> {
        Keys { key: &self.key, iv: &self.iv, secret: &self.secret }
    }

    fn algorithm(&self) -> &'static Algorithm {
        match self.suite {
            Suite::Aes128 | Suite::Aes128Tls12 => &AES_128_GCM,
            Suite::Aes256 | Suite::Aes256Tls12 => &AES_256_GCM,
            Suite::ChaCha | Suite::ChaChaTls12 => &CHACHA20_POLY1305,
        }
    }

    fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut body = content.to_vec();
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        let is_tls13 = self.suite.version() == Version::Tls13;
        let explicit = match self.suite {
            Suite::Aes128Tls12 | Suite::Aes256Tls12 => nonce[4..].to_vec(),
            _ => Vec::new(),
        };
        let mut header = vec![if is_tls13 { DATA } else { kind }, 3, 3];
        let mut aad = Vec::new();
        if is_tls13 {
            body.push(kind);
            body.resize(body.len() + padding, 0);
        } else {
            aad.extend(self.sequence.to_be_bytes());
            aad.extend_from_slice(&header);
            aad.extend((body.len() as u16).to_be_bytes());
        }
        header.extend(((explicit.len() + body.len() + 16) as u16).to_be_bytes());
        if is_tls13 {
            aad.clone_from(&header);
        }
        let key =
            UnboundKey::new(self.algorithm(), &self.key).expect("invariant: the key has the suite's length");
        LessSafeKey::new(key)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
            .expect("invariant: a short record can be sealed");
        self.sequence += 1;
        [header, explicit, body].concat()
    }

    /// RFC 8446 §7.2 and §7.3.
    fn advance(&mut self) {
        self.secret = self.expand(b"traffic upd", self.secret.len());
        self.key = self.expand(b"key", self.key.len());
        let iv = self.expand(b"iv", self.iv.len());
        self.iv.copy_from_slice(&iv);
        self.sequence = 0;
    }

    fn expand(&self, label: &[u8], bytes: usize) -> Vec<u8> {
        struct Length(usize);
        impl KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let hash = if self.suite == Suite::Aes256 { HKDF_SHA384 } else { HKDF_SHA256 };
        let prefix = [0, bytes as u8, 6 + label.len() as u8];
        let info = [&prefix[..], b"tls13 ", label, &[0]];
        let mut out = vec![0; bytes];
        Prk::new_less_safe(hash, &self.secret)
            .expand(&info, Length(bytes))
            .and_then(|okm| okm.fill(&mut out))
            .expect("invariant: less than 255 blocks are asked for");
        out
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let steps: [&[u8]; 6] = [
        b"\x00\x05hello\x06\x05reply\x00\x05again",
        b"\x00\x01a\x04\x01\x00\x01b\x06\x01c\x04\x00\x00\x01d\x07\x06\x02ef",
        // A key update in parts, an alert, a ticket's beginning, padding.
        b"\x01\x16\x00\x02\x18\x00\x01\x16\x00\x03\x00\x01\x00\x01\x17\x40\x04data\x01\x15\x00\x02\x01\x00",
        b"\x01\x16\x00\x08\x04\x00\x00\x04abcd\x00\x01a\x01\x16\x00\x04\x01\x00\x00\x00",
        b"\x02\x05\x17\x03\x03\x00\x20\x02\x05\x17\x03\x03\x40\x11\x05\x03\x05hello",
        b"\x03\x06\x01\x05hello",
    ];
    let mut seeds = Vec::new();
    for suite in 0..Suite::ALL.len() as u8 {
        for side in 0..2 {
            seeds.extend(steps.iter().map(|steps| [&[suite, side], *steps].concat()));
        }
    }
    seeds
}
