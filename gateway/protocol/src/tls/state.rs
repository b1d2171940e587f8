//! What remains of an established TLS connection: keys, IVs, traffic secrets, sequence numbers and a few flags, as plain
//! bytes in three size classes. Owns the layout and its erasure; knows no records.

use rustls::{ConnectionTrafficSecrets, ProtocolVersion};
use zeroize::Zeroize;

use super::capture::Captured;
use super::limits::SEQUENCE_MAX;
use super::suite::{Suite, Version};

/// Version of the layout below. Whoever writes states for another process writes it in front.
pub const LAYOUT_VERSION: u8 = 1;

/// An established connection. Sixteen bytes and one allocation; erased when dropped.
pub enum Traffic {
    /// TLS 1.3 with AES-128: 136 bytes, which is what an allocator's 144-byte chunk holds.
    Small(Box<State<16, 32>>),
    /// TLS 1.3 with AES-256 or ChaCha20: 200 bytes.
    Large(Box<State<32, 48>>),
    /// TLS 1.2, which has no traffic secrets: 120 bytes.
    Old(Box<State<32, 8>>),
}

/// Both directions. Bytes only, so that it has no padding and may lie anywhere.
#[repr(C)]
pub struct State<const KEY: usize, const SECRET: usize> {
    /// First, so that what a send touches lies together.
    send: Half<KEY, SECRET>,
    receive: Half<KEY, SECRET>,
}

#[repr(C)]
struct Half<const KEY: usize, const SECRET: usize> {
    /// Sequence number and notes; see [`Field`]. In the machine's byte order.
    word: [u8; 8],
    iv: [u8; 12],
    key: [u8; KEY],
    /// Traffic secret of TLS 1.3. In TLS 1.2, blocks sealed so far in the machine's byte order.
    secret: [u8; SECRET],
}

/// One direction of a [`Traffic`] of any class.
pub(super) struct View<'a> {
    pub(super) word: &'a mut [u8; 8],
    pub(super) iv: &'a mut [u8; 12],
    /// As long as the suite's key.
    pub(super) key: &'a mut [u8],
    /// As long as the suite's secret in TLS 1.3, eight bytes in TLS 1.2.
    pub(super) secret: &'a mut [u8],
}

/// A number within a half's word.
#[derive(Clone, Copy)]
pub(super) struct Field {
    shift: u32,
    width: u32,
}

impl Field {
    /// Number of the next record; in both halves.
    pub(super) const SEQUENCE: Self = Self { shift: 0, width: 44 };

    /// Sending half: number of the [`Suite`].
    const SUITE: Self = Self { shift: 44, width: 3 };
    /// Sending half: 1 at a client.
    pub(super) const CLIENT: Self = Self { shift: 47, width: 1 };
    /// Sending half: 1 when the peer asked for a key update that was not yet sent.
    pub(super) const OWED: Self = Self { shift: 48, width: 1 };
    /// Sending half: 1 when an alert of ours ended it.
    pub(super) const ENDED: Self = Self { shift: 49, width: 1 };
    /// Sending half: key updates received, less those earned by data; see `limits`.
    pub(super) const UPDATES: Self = Self { shift: 50, width: 8 };
    /// Sending half: records in a row without application data.
    pub(super) const FRUITLESS: Self = Self { shift: 58, width: 6 };

    /// Receiving half: a handshake message of which only a part has come; see `message`.
    pub(super) const PART: Self = Self { shift: 44, width: 18 };
    /// Receiving half: 1 after the peer's close_notify.
    pub(super) const CLOSED: Self = Self { shift: 62, width: 1 };

    #[inline]
    const fn of(self, word: u64) -> u64 {
        word >> self.shift & self.mask()
    }

    const fn mask(self) -> u64 {
        (1 << self.width) - 1
    }
}

const _: () = assert!(Field::SEQUENCE.mask() == SEQUENCE_MAX);

impl View<'_> {
    #[inline]
    pub(super) fn field(&self, field: Field) -> u64 {
        field.of(u64::from_ne_bytes(*self.word))
    }

    #[inline]
    pub(super) fn put(&mut self, field: Field, value: u64) {
        debug_assert!(value <= field.mask(), "a value fits its field");
        let word = u64::from_ne_bytes(*self.word) & !(field.mask() << field.shift);
        *self.word = (word | (value & field.mask()) << field.shift).to_ne_bytes();
    }

    /// Sequence numbers start at 0 with each key.
    pub(super) fn restart(&mut self) {
        self.put(Field::SEQUENCE, 0);
    }

    /// Blocks sealed by a TLS 1.2 half.
    pub(super) fn blocks(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.secret[..8]);
        u64::from_ne_bytes(bytes)
    }

    pub(super) fn set_blocks(&mut self, blocks: u64) {
        self.secret[..8].copy_from_slice(&blocks.to_ne_bytes());
    }
}

impl Traffic {
    /// Takes over from rustls. `None` when the parts do not belong together or the suite is not one of ours.
    pub(super) fn adopt(
        client: bool,
        version: ProtocolVersion,
        secrets: &rustls::ExtractedSecrets,
        captured: &Captured,
    ) -> Option<Self> {
        let suite = Suite::agreed(version, &secrets.tx.1)?;
        if Suite::agreed(version, &secrets.rx.1)? != suite {
            return None;
        }
        let mut traffic = Self::blank(suite, client);
        let (ours, theirs) =
            if client { (&captured.client, &captured.server) } else { (&captured.server, &captured.client) };
        let (mut send, mut receive) = traffic.halves(suite);
        for (half, extracted, secret) in [(&mut send, &secrets.tx, ours), (&mut receive, &secrets.rx, theirs)]
        {
            let (sequence, ref keys) = *extracted;
            let (key, iv) = parts(keys)?;
            if key.len() != half.key.len() || iv.len() != half.iv.len() || sequence > SEQUENCE_MAX {
                return None;
            }
            half.key.copy_from_slice(key);
            half.iv.copy_from_slice(iv);
            half.put(Field::SEQUENCE, sequence);
            if suite.is_tls13() {
                half.secret.copy_from_slice(captured.secret(secret, suite)?);
            }
        }
        Some(traffic)
    }

    /// All zero but for suite and side; in its final place, so that no copy of a secret is left elsewhere.
    pub(super) fn blank(suite: Suite, client: bool) -> Self {
        let mut traffic = match suite {
            Suite::Aes128 => Self::Small(Box::new(State::blank())),
            Suite::Aes256 | Suite::ChaCha => Self::Large(Box::new(State::blank())),
            Suite::Aes128Tls12 | Suite::Aes256Tls12 | Suite::ChaChaTls12 => {
                Self::Old(Box::new(State::blank()))
            }
        };
        let (mut send, _) = traffic.halves(suite);
        send.put(Field::SUITE, suite as u64);
        send.put(Field::CLIENT, u64::from(client));
        traffic
    }

    /// How records are protected. Never changes.
    #[inline]
    pub fn suite(&self) -> Suite {
        match self {
            Self::Small(_) => Suite::Aes128,
            _ => Suite::from_number(Field::SUITE.of(self.words().0)),
        }
    }

    /// Whether nothing can be sealed any more: a close_notify or another alert of ours was.
    pub fn is_ended(&self) -> bool {
        Field::ENDED.of(self.words().0) == 1
    }

    /// Whether the peer has closed its direction.
    pub fn is_closed(&self) -> bool {
        Field::CLOSED.of(self.words().1) == 1
    }

    /// Version of TLS. Never changes.
    pub fn version(&self) -> Version {
        self.suite().version()
    }

    /// Bytes of heap that it holds.
    pub const fn heap_bytes(&self) -> usize {
        match self {
            Self::Small(_) => size_of::<State<16, 32>>(),
            Self::Large(_) => size_of::<State<32, 48>>(),
            Self::Old(_) => size_of::<State<32, 8>>(),
        }
    }

    /// Sending and receiving half.
    #[inline]
    pub(super) fn halves(&mut self, suite: Suite) -> (View<'_>, View<'_>) {
        match self {
            Self::Small(state) => state.halves(suite),
            Self::Large(state) => state.halves(suite),
            Self::Old(state) => state.halves(suite),
        }
    }

    #[inline]
    const fn words(&self) -> (u64, u64) {
        let (send, receive) = match self {
            Self::Small(state) => (state.send.word, state.receive.word),
            Self::Large(state) => (state.send.word, state.receive.word),
            Self::Old(state) => (state.send.word, state.receive.word),
        };
        (u64::from_ne_bytes(send), u64::from_ne_bytes(receive))
    }

    #[inline]
    pub(super) fn sending(&mut self, suite: Suite) -> View<'_> {
        self.halves(suite).0
    }
}

impl std::fmt::Debug for Traffic {
    /// Tells no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traffic").field("suite", &self.suite()).finish_non_exhaustive()
    }
}

impl<const KEY: usize, const SECRET: usize> State<KEY, SECRET> {
    const fn blank() -> Self {
        Self { send: Half::blank(), receive: Half::blank() }
    }

    #[inline]
    fn halves(&mut self, suite: Suite) -> (View<'_>, View<'_>) {
        (self.send.view(suite), self.receive.view(suite))
    }

    fn wipe(&mut self) {
        self.send.wipe();
        self.receive.wipe();
    }
}

impl<const KEY: usize, const SECRET: usize> Drop for State<KEY, SECRET> {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl<const KEY: usize, const SECRET: usize> Half<KEY, SECRET> {
    const fn blank() -> Self {
        Self { word: [0; 8], iv: [0; 12], key: [0; KEY], secret: [0; SECRET] }
    }

    #[inline]
    fn view(&mut self, suite: Suite) -> View<'_> {
        let secret = if suite.is_tls13() { suite.secret_bytes() } else { SECRET };
        View {
            word: &mut self.word,
            iv: &mut self.iv,
            key: &mut self.key[..suite.key_bytes()],
            secret: &mut self.secret[..secret],
        }
    }

    fn wipe(&mut self) {
        self.word.zeroize();
        self.iv.zeroize();
        self.key.zeroize();
        self.secret.zeroize();
    }
}

fn parts(secrets: &ConnectionTrafficSecrets) -> Option<(&[u8], &[u8])> {
    use ConnectionTrafficSecrets as S;
    match secrets {
        S::Aes128Gcm { key, iv } | S::Aes256Gcm { key, iv } | S::Chacha20Poly1305 { key, iv } => {
            Some((key.as_ref(), iv.as_ref()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_fits_its_budget() {
        assert_eq!(size_of::<Traffic>(), 16);
        assert_eq!(size_of::<Option<Traffic>>(), 16);
        // The commonest one fits a 144-byte chunk of an allocator with an 8-byte header.
        assert_eq!(size_of::<State<16, 32>>(), 136);
        assert_eq!(size_of::<State<32, 48>>(), 200);
        assert_eq!(size_of::<State<32, 8>>(), 120);
        assert_eq!(align_of::<State<16, 32>>(), 1);
        for suite in Suite::ALL {
            assert!(Traffic::blank(suite, false).heap_bytes() <= 200);
        }
        assert!(Traffic::blank(Suite::Aes128, true).heap_bytes() <= 144);
    }

    #[test]
    fn a_wiped_state_is_all_zero() {
        let mut state: State<16, 32> = State::blank();
        for half in [&mut state.send, &mut state.receive] {
            half.word = [0xff; 8];
            half.iv = [0xff; 12];
            half.key = [0xff; 16];
            half.secret = [0xff; 32];
        }
        state.wipe();
        for half in [&state.send, &state.receive] {
            assert_eq!((half.word, half.iv, half.key, half.secret), ([0; 8], [0; 12], [0; 16], [0; 32]));
        }
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        let mut traffic = Traffic::blank(Suite::Aes256, true);
        let (mut send, mut receive) = traffic.halves(Suite::Aes256);
        for field in [Field::SEQUENCE, Field::OWED, Field::ENDED, Field::UPDATES, Field::FRUITLESS] {
            let before = *send.word;
            send.put(field, field.mask());
            assert_eq!(send.field(field), field.mask());
            assert_eq!(send.field(Field::SUITE), Suite::Aes256 as u64);
            assert_eq!(send.field(Field::CLIENT), 1);
            send.put(field, 0);
            assert_eq!(*send.word, before);
        }
        receive.put(Field::PART, Field::PART.mask());
        receive.put(Field::CLOSED, 1);
        assert_eq!(receive.field(Field::SEQUENCE), 0);
        assert_eq!(receive.field(Field::PART), Field::PART.mask());
    }

    #[test]
    fn debug_output_holds_no_secret() {
        assert_eq!(format!("{:?}", Traffic::blank(Suite::Aes128, false)), "Traffic { suite: Aes128, .. }");
    }
}
