//! One private key: what it can sign, and what it will not.
//!
//! It signs only what has the shape of a TLS server's handshake, so that whoever takes over a gateway can use the key for
//! nothing else.

use std::fmt;

use rustls::SignatureScheme;
use wire::limits::SIGN_MESSAGE_BYTES_MAX;

/// RFC 8446 §4.4.3: what a TLS 1.3 server's CertificateVerify begins with.
const TLS13_CONTEXT: &[u8; 33] = b"TLS 1.3, server CertificateVerify";
const TLS13_SPACES: usize = 64;
/// Both randoms of a TLS 1.2 handshake (RFC 5246 §7.4.3).
const TLS12_RANDOMS: usize = 64;

/// What a key may be asked for, preferred first.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// A private key, made ready for each scheme it can do.
pub struct Signer {
    schemes: Vec<(u16, Box<dyn rustls::sign::Signer>)>,
}

/// Why there is no signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such key.
    Key,
    /// The key cannot do this scheme.
    Scheme,
    /// The message is not a TLS server's handshake.
    Shape,
    /// The cryptographic library failed.
    Failed,
}

impl Signer {
    pub(crate) fn new(key: &dyn rustls::sign::SigningKey) -> Self {
        let schemes =
            SCHEMES.into_iter().filter_map(|scheme| Some((u16::from(scheme), key.choose_scheme(&[scheme])?)));
        Self { schemes: schemes.collect() }
    }

    /// What the key can do, preferred first.
    pub fn schemes(&self) -> impl Iterator<Item = u16> {
        self.schemes.iter().map(|(scheme, _)| *scheme)
    }

    /// Signs a TLS server's handshake message.
    pub fn sign(&self, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (_, signer) = self.schemes.iter().find(|(known, _)| *known == scheme).ok_or(Refusal::Scheme)?;
        if !signable(SignatureScheme::from(scheme), message) {
            return Err(Refusal::Shape);
        }
        signer.sign(message).map_err(|_| Refusal::Failed)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.schemes().map(SignatureScheme::from)).finish()
    }
}

fn signable(scheme: SignatureScheme, message: &[u8]) -> bool {
    message.len() <= SIGN_MESSAGE_BYTES_MAX && (tls13(scheme, message) || tls12(message))
}

/// 64 spaces, the server's context, a zero, and a SHA-256 or SHA-384 transcript hash. TLS 1.3 has no PKCS#1 signatures.
fn tls13(scheme: SignatureScheme, message: &[u8]) -> bool {
    let pkcs1 = matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    );
    let Some((spaces, rest)) = message.split_at_checked(TLS13_SPACES) else { return false };
    let hash = rest.strip_prefix(TLS13_CONTEXT).and_then(|rest| rest.strip_prefix(&[0]));
    !pkcs1
        && spaces.iter().all(|byte| *byte == b' ')
        && hash.is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

/// Two randoms and an ECDHE key exchange (RFC 8422 §5.4): named curve, X25519, P-256 or P-384, a point of its length.
fn tls12(message: &[u8]) -> bool {
    let Some((_, exchange)) = message.split_at_checked(TLS12_RANDOMS) else { return false };
    let Some(([3, group @ .., length], point)) = exchange.split_first_chunk::<4>() else { return false };
    let expected = match u16::from_be_bytes([group[0], group[1]]) {
        0x001d => 32,
        0x0017 => 65,
        0x0018 => 97,
        _ => return false,
    };
    usize::from(*length) == expected && point.len() == expected
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    fn signer(algorithm: &'static rcgen::SignatureAlgorithm) -> Signer {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let der = PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        Signer::new(&*any_supported_type(&der).unwrap())
    }

    fn tls13_message(context: &str, hash: usize) -> Vec<u8> {
        [&[b' '; 64][..], context.as_bytes(), &[0], &vec![7; hash]].concat()
    }

    fn tls12_message(group: u16, length: usize) -> Vec<u8> {
        let [high, low] = group.to_be_bytes();
        [&[9; 64][..], &[3, high, low, length as u8], &vec![4; length]].concat()
    }

    const ECDSA: u16 = 0x0403;

    #[test]
    fn schemes_follow_from_the_key() {
        let schemes = |algorithm| signer(algorithm).schemes().collect::<Vec<_>>();
        assert_eq!(schemes(&rcgen::PKCS_ECDSA_P256_SHA256), [0x0403]);
        assert_eq!(schemes(&rcgen::PKCS_ECDSA_P384_SHA384), [0x0503]);
        assert_eq!(schemes(&rcgen::PKCS_ED25519), [0x0807]);
        assert_eq!(schemes(&rcgen::PKCS_RSA_SHA256), [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601]);
    }

    #[test]
    fn handshakes_of_both_versions_are_signed() {
        let signer = signer(&rcgen::PKCS_ECDSA_P256_SHA256);
        let server = std::str::from_utf8(TLS13_CONTEXT).unwrap();
        for message in [
            tls13_message(server, 32),
            tls13_message(server, 48),
            tls12_message(0x001d, 32),
            tls12_message(0x0017, 65),
            tls12_message(0x0018, 97),
        ] {
            assert!(!signer.sign(ECDSA, &message).unwrap().is_empty());
        }
    }

    #[test]
    fn nothing_else_is() {
        let signer = signer(&rcgen::PKCS_ECDSA_P256_SHA256);
        let server = std::str::from_utf8(TLS13_CONTEXT).unwrap();
        let mut one_space_less = tls13_message(server, 32);
        one_space_less.remove(0);
        for message in [
            Vec::new(),
            b"-----a certificate to be-----".to_vec(),
            tls13_message("TLS 1.3, client CertificateVerify", 32),
            tls13_message(server, 31),
            tls13_message(server, 64),
            tls13_message(server, 2000),
            one_space_less,
            tls12_message(0x0017, 64),
            tls12_message(0x9999, 32),
            [tls12_message(0x001d, 32), vec![0]].concat(),
        ] {
            assert_eq!(signer.sign(ECDSA, &message), Err(Refusal::Shape));
        }
    }

    #[test]
    fn a_scheme_the_key_cannot_do_is_refused() {
        let message = tls13_message(std::str::from_utf8(TLS13_CONTEXT).unwrap(), 32);
        assert_eq!(signer(&rcgen::PKCS_ED25519).sign(ECDSA, &message), Err(Refusal::Scheme));
        let rsa = signer(&rcgen::PKCS_RSA_SHA256);
        assert_eq!(rsa.sign(0x0401, &message), Err(Refusal::Shape), "TLS 1.3 has no PKCS#1 signatures");
        assert!(rsa.sign(0x0804, &message).is_ok());
        assert!(rsa.sign(0x0401, &tls12_message(0x001d, 32)).is_ok());
    }
}
