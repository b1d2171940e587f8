//! A connection from keys that somebody already has, as it is right after its handshake.

use super::state::Traffic;
use super::suite::Suite;

/// What protects one direction.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// As long as the suite's key.
    pub key: &'a [u8],
    /// What the sequence number is mixed into.
    pub iv: &'a [u8; 12],
    /// Traffic secret of TLS 1.3, from which later keys come; empty in TLS 1.2.
    pub secret: &'a [u8],
}

impl Traffic {
    /// One end of a connection with the keys of the client's and of the server's direction; nothing has been sent yet. `None`
    /// when a length is not the suite's. For tools and tests that know the keys: a handshake gives a [`Traffic`] by itself.
    pub fn given(suite: Suite, is_client: bool, client: Keys<'_>, server: Keys<'_>) -> Option<Self> {
        let mut traffic = Self::blank(suite, is_client);
        let (mut send, mut receive) = traffic.halves(suite);
        let (ours, theirs) = if is_client { (client, server) } else { (server, client) };
        for (half, keys) in [(&mut send, ours), (&mut receive, theirs)] {
            if keys.key.len() != half.key.len() || keys.secret.len() != suite.secret_bytes() {
                return None;
            }
            half.key.copy_from_slice(keys.key);
            half.iv.copy_from_slice(keys.iv);
            if suite.is_tls13() {
                half.secret.copy_from_slice(keys.secret);
            }
        }
        Some(traffic)
    }
}

impl std::fmt::Debug for Keys<'_> {
    /// Tells no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Opened;

    #[test]
    fn two_ends_with_the_same_keys_understand_each_other() {
        for suite in Suite::ALL {
            let (key, secret) = (&[7; 32][..suite.key_bytes()], &[9; 48][..suite.secret_bytes()]);
            let (client, server) = (
                Keys { key, iv: &[1; 12], secret },
                Keys { key: &[8; 32][..key.len()], iv: &[2; 12], secret },
            );
            let mut ends =
                [true, false].map(|is_client| Traffic::given(suite, is_client, client, server).unwrap());
            for (from, to) in [(0, 1), (1, 0)] {
                let mut record = Vec::new();
                ends[from].seal(b"hello", &mut record).unwrap();
                let length = record.len();
                let mut data = *b"hello";
                assert_eq!(ends[to].open(&mut record), Ok((length, Opened::Data(&mut data))));
            }
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        let good = Keys { key: &[0; 16], iv: &[0; 12], secret: &[0; 32] };
        assert!(Traffic::given(Suite::Aes128, true, good, good).is_some());
        for bad in
            [Keys { key: &[0; 32], ..good }, Keys { secret: &[0; 48], ..good }, Keys { secret: &[], ..good }]
        {
            assert!(Traffic::given(Suite::Aes128, true, good, bad).is_none());
            assert!(Traffic::given(Suite::Aes128, true, bad, good).is_none());
        }
    }
}
