//! What goes wrong in TLS, whose fault it is and which alert tells the peer.

use std::fmt;

use rustls::{AlertDescription, PeerIncompatible};

/// Why something that we wanted failed. Never the peer's doing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The connection was closed by us ([`super::Traffic::seal_close`]) or by an alert of ours.
    #[error("the connection is closed for sending")]
    Closed,
    /// The keys of a TLS 1.2 connection may not protect more; it has to be closed and opened anew.
    #[error("the connection's keys are used up")]
    Exhausted,
    /// Key updates exist in TLS 1.3 only.
    #[error("TLS 1.2 has no key update")]
    NoKeyUpdate,
    /// The cryptographic library refused an operation that cannot fail on valid keys.
    #[error("cryptographic operation failed")]
    Crypto,
    /// A certificate cannot be used.
    #[error("certificate {index}: {reason}")]
    Certificate {
        /// Position in the list.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// rustls refused a configuration.
    #[error("TLS configuration: {0}")]
    Config(#[from] rustls::Error),
}

impl From<aws_lc_rs::error::Unspecified> for TlsError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

/// A handshake that will not complete. What the peer is told is already in the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("TLS handshake failed: {cause}")]
pub struct Failure {
    /// Whose fault, and what to count it as.
    pub cause: Cause,
}

/// Why a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Not TLS, or against its rules.
    Peer,
    /// The peer gave up with this alert (a number of RFC 8446 §6); 42 to 48 usually mean that it does not trust our
    /// certificate.
    Alerted(u8),
    /// More bytes than any handshake needs.
    Oversize,
    /// No protocol version in common.
    NoVersion,
    /// No cipher suite or key exchange group in common.
    NoSuite,
    /// The peer's ALPN list is without `http/1.1`.
    NoProtocol,
    /// Our certificate's key can make none of the signatures that the peer understands.
    NoScheme,
    /// A client does not accept the server's certificate.
    Certificate,
    /// The holder of the private key did not answer or refused.
    Signer,
    /// Our own fault.
    Internal,
}

impl Cause {
    /// Whether both sides kept the rules and found nothing in common.
    pub const fn is_mismatch(self) -> bool {
        matches!(self, Self::NoVersion | Self::NoSuite | Self::NoProtocol | Self::NoScheme)
    }

    /// Whether a later try of the same peer can succeed with nothing changed on its side.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Signer | Self::Internal)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => f.write_str("the peer broke the protocol"),
            Self::Alerted(alert) => write!(f, "the peer gave up with alert {alert}"),
            Self::Oversize => f.write_str("too many bytes"),
            Self::NoVersion => f.write_str("no common protocol version"),
            Self::NoSuite => f.write_str("no common cipher suite or group"),
            Self::NoProtocol => f.write_str("no common application protocol"),
            Self::NoScheme => f.write_str("no common signature scheme"),
            Self::Certificate => f.write_str("the server's certificate is not acceptable"),
            Self::Signer => f.write_str("the signer is unavailable"),
            Self::Internal => f.write_str("internal error"),
        }
    }
}

/// What rustls says to a TLS 1.2 client that knows the algorithm of our key but none of its schemes; in TLS 1.3 it has a name for it.
const NO_SCHEME_TLS12: &str = "incompatible signing key";

impl From<&rustls::Error> for Cause {
    fn from(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::PeerIncompatible(reason) => incompatible(reason),
            E::NoApplicationProtocol => Self::NoProtocol,
            E::AlertReceived(alert) => Self::Alerted(u8::from(*alert)),
            E::InvalidCertificate(_) | E::NoCertificatesPresented | E::UnsupportedNameType => {
                Self::Certificate
            }
            E::Other(other) if other.0.is::<Unsigned>() => Self::Signer,
            E::General(text) if text == NO_SCHEME_TLS12 => Self::NoScheme,
            E::InappropriateMessage { .. }
            | E::InappropriateHandshakeMessage { .. }
            | E::InvalidEncryptedClientHello(_)
            | E::InvalidMessage(_)
            | E::DecryptError
            | E::PeerMisbehaved(_)
            | E::PeerSentOversizedRecord => Self::Peer,
            _ => Self::Internal,
        }
    }
}

fn incompatible(reason: &PeerIncompatible) -> Cause {
    use PeerIncompatible as P;
    match reason {
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled => Cause::NoVersion,
        P::NoSignatureSchemesInCommon
        | P::NoCertificateRequestSignatureSchemesInCommon
        | P::SignatureAlgorithmsExtensionRequired => Cause::NoScheme,
        _ => Cause::NoSuite,
    }
}

/// Why a signature could not be had from a remote key; inside a [`rustls::Error::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsigned {
    /// The holder of the key cannot be reached or did not answer in time.
    #[error("the signer is unavailable")]
    Unavailable,
    /// It does not have this key any more or would not sign this.
    #[error("the signer refused")]
    Refused,
}

/// What a peer did wrong on an established connection. The connection ends: send [`super::Traffic::seal_alert`] and close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A record or message that has no place here.
    #[error("unexpected message")]
    Unexpected,
    /// A record that was not made with this connection's keys.
    #[error("bad record authentication")]
    BadMac,
    /// A record longer than the protocol allows.
    #[error("record overflow")]
    Overflow,
    /// A message whose length or shape is wrong.
    #[error("undecodable message")]
    Decode,
    /// A field with a value that does not exist.
    #[error("illegal parameter")]
    Illegal,
    /// Allowed messages in a number that serves nobody.
    #[error("flood of messages without data")]
    Flood,
    /// TLS 1.2 renegotiation.
    #[error("renegotiation refused")]
    Renegotiation,
    /// More records than sequence numbers.
    #[error("record sequence exhausted")]
    Exhausted,
    /// The peer ended the connection with this alert; it gets no answer.
    #[error("the peer ended the connection with alert {0}")]
    Alerted(u8),
    /// Not the peer's doing: the cryptographic library failed to derive keys.
    #[error("internal error")]
    Internal,
}

impl Misbehaviour {
    /// The alert that answers it.
    pub fn alert(self) -> Option<AlertDescription> {
        Some(match self {
            Self::Unexpected | Self::Flood => AlertDescription::UnexpectedMessage,
            Self::BadMac => AlertDescription::BadRecordMac,
            Self::Overflow => AlertDescription::RecordOverflow,
            Self::Decode => AlertDescription::DecodeError,
            Self::Illegal => AlertDescription::IllegalParameter,
            Self::Renegotiation => AlertDescription::NoRenegotiation,
            Self::Exhausted | Self::Internal => AlertDescription::InternalError,
            Self::Alerted(_) => return None,
        })
    }
}

impl From<TlsError> for Misbehaviour {
    fn from(_: TlsError) -> Self {
        Self::Internal
    }
}
