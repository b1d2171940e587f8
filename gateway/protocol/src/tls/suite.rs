//! The six protections that an established connection can have: three AEADs, each as TLS 1.3 and as TLS 1.2 use it.

use aws_lc_rs::{aead, hkdf};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Record protection of a connection. The numbers are part of [`super::Traffic`]'s layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Suite {
    /// TLS 1.3, AES-128-GCM, SHA-256.
    Aes128 = 0,
    /// TLS 1.3, AES-256-GCM, SHA-384.
    Aes256 = 1,
    /// TLS 1.3, ChaCha20-Poly1305, SHA-256.
    ChaCha = 2,
    /// TLS 1.2, AES-128-GCM.
    Aes128Tls12 = 3,
    /// TLS 1.2, AES-256-GCM.
    Aes256Tls12 = 4,
    /// TLS 1.2, ChaCha20-Poly1305 (RFC 7905).
    ChaChaTls12 = 5,
}

impl Suite {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Aes128, Self::Aes256, Self::ChaCha, Self::Aes128Tls12, Self::Aes256Tls12, Self::ChaChaTls12];

    /// The version it belongs to.
    pub const fn version(self) -> Version {
        match self {
            Self::Aes128 | Self::Aes256 | Self::ChaCha => Version::Tls13,
            Self::Aes128Tls12 | Self::Aes256Tls12 | Self::ChaChaTls12 => Version::Tls12,
        }
    }

    pub(super) const fn is_tls13(self) -> bool {
        matches!(self.version(), Version::Tls13)
    }

    /// Whether each record carries half of its nonce.
    pub(super) const fn has_explicit_nonce(self) -> bool {
        matches!(self, Self::Aes128Tls12 | Self::Aes256Tls12)
    }

    pub(super) const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes128Tls12 => 16,
            _ => 32,
        }
    }

    /// Length of a traffic secret; 0 in TLS 1.2, which has none.
    pub(super) const fn secret_bytes(self) -> usize {
        match self {
            Self::Aes128 | Self::ChaCha => 32,
            Self::Aes256 => 48,
            _ => 0,
        }
    }

    pub(super) fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128 | Self::Aes128Tls12 => &aead::AES_128_GCM,
            Self::Aes256 | Self::Aes256Tls12 => &aead::AES_256_GCM,
            Self::ChaCha | Self::ChaChaTls12 => &aead::CHACHA20_POLY1305,
        }
    }

    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes256 => hkdf::HKDF_SHA384,
            _ => hkdf::HKDF_SHA256,
        }
    }

    pub(super) fn from_number(number: u64) -> Self {
        debug_assert!(number < Self::ALL.len() as u64, "a suite number was written by us");
        Self::ALL[number as usize % Self::ALL.len()]
    }

    /// The suite that rustls agreed; `None` for one that is not in our provider.
    pub(super) fn agreed(version: ProtocolVersion, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        use ConnectionTrafficSecrets as S;
        match (version, secrets) {
            (ProtocolVersion::TLSv1_3, S::Aes128Gcm { .. }) => Some(Self::Aes128),
            (ProtocolVersion::TLSv1_3, S::Aes256Gcm { .. }) => Some(Self::Aes256),
            (ProtocolVersion::TLSv1_3, S::Chacha20Poly1305 { .. }) => Some(Self::ChaCha),
            (ProtocolVersion::TLSv1_2, S::Aes128Gcm { .. }) => Some(Self::Aes128Tls12),
            (ProtocolVersion::TLSv1_2, S::Aes256Gcm { .. }) => Some(Self::Aes256Tls12),
            (ProtocolVersion::TLSv1_2, S::Chacha20Poly1305 { .. }) => Some(Self::ChaChaTls12),
            _ => None,
        }
    }
}
