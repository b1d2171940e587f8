//! Messages of a signing connection: a shard asks, the relay, which holds the private keys, signs.

use serde::{Deserialize, Serialize};

/// One signature to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignRequest<'a> {
    /// [`crate::settings::Certificate::key`].
    pub key: u32,
    /// TLS `SignatureScheme` number (RFC 8446 §4.2.3), one of the certificate's `schemes`.
    pub scheme: u16,
    /// What to sign; at most [`crate::limits::SIGN_MESSAGE_BYTES_MAX`]. The relay signs only what has the shape of a TLS
    /// handshake (RFC 8446 §4.4.3 server context, or the length of a TLS 1.2 key exchange), so that a stolen gateway cannot
    /// use the key for anything else.
    #[serde(borrow, with = "serde_bytes")]
    pub message: &'a [u8],
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SignReply<'a> {
    /// The signature in the scheme's TLS encoding.
    Signature(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// No such key (it was replaced by a reload), or a scheme it cannot do, or a message it must not sign.
    Refused,
}
