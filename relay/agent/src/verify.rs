//! Tokens that are signed with a shared secret, which only this program knows.

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto};
use wire::code::{self, ErrorCode};
use wire::token::{Algorithm, Claims, Unverified};

use crate::config::Secret;

/// The shared secrets.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: Vec<DecodingKey>,
}

impl Verifier {
    /// Any of these secrets is good: the present and the one before it.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        Self { keys: secrets.map(|secret| DecodingKey::from_secret(secret.bytes())).collect() }
    }

    /// What a genuine token says. Its expiry is for the receiver to check. The error is what the gateway is told:
    /// "token expired" for one whose time has not come (another would do), "unauthorized" for one that never will.
    pub fn verify(&self, token: &str, unix: u64) -> Result<Claims, ErrorCode> {
        let token = Unverified::parse(token).map_err(|_| code::UNAUTHORIZED)?;
        let algorithm = shared(token.algorithm).ok_or(code::UNAUTHORIZED)?;
        let signed =
            |key: &DecodingKey| crypto::verify(token.signature, token.message.as_bytes(), key, algorithm);
        if !self.keys.iter().any(|key| signed(key).unwrap_or(false)) {
            return Err(code::UNAUTHORIZED);
        }
        let payload = token.payload().map_err(|_| code::UNAUTHORIZED)?;
        if payload.early(unix) {
            return Err(code::TOKEN_EXPIRED);
        }
        Ok(payload.claims)
    }
}

/// The verifying library's name for an algorithm with shared secrets.
const fn shared(algorithm: Algorithm) -> Option<Jwa> {
    match algorithm {
        Algorithm::Hs256 => Some(Jwa::HS256),
        Algorithm::Hs384 => Some(Jwa::HS384),
        Algorithm::Hs512 => Some(Jwa::HS512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::EncodingKey;
    use wire::config::load;

    use super::*;
    use crate::config::Config;

    fn verifier() -> Verifier {
        let text = "[client.token]\nhmac_secret_key = \"new\"\nhmac_previous_secret_key = \"old\"\n";
        let config = load::<Config>("relay.toml", text, "X_", []).unwrap().value;
        Verifier::new(config.client.token.secrets())
    }

    fn token(algorithm: Jwa, secret: &str, claims: &str) -> String {
        let header = format!(r#"{{"alg":"{algorithm:?}","typ":"JWT"}}"#);
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn tokens_of_the_present_and_the_previous_secret_are_genuine() {
        for (algorithm, secret) in [(Jwa::HS256, "new"), (Jwa::HS384, "old"), (Jwa::HS512, "new")] {
            let claims =
                verifier().verify(&token(algorithm, secret, r#"{"sub":"42","exp":5}"#), 100).unwrap();
            assert_eq!((claims.user.as_str(), claims.exp), ("42", 5));
        }
    }

    #[test]
    fn forged_and_unsigned_tokens_are_not() {
        let genuine = token(Jwa::HS256, "new", r#"{"sub":"42"}"#);
        let (message, signature) = genuine.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(r#"{"sub":"admin"}"#);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for forged in [
            token(Jwa::HS256, "guess", r#"{"sub":"42"}"#),
            format!("{header}.{other}.{signature}"),
            format!("{none}.{other}."),
            format!("{message}."),
            "garbage".to_owned(),
        ] {
            assert_eq!(verifier().verify(&forged, 0), Err(code::UNAUTHORIZED), "{forged}");
        }
        assert_eq!(Verifier::default().verify(&genuine, 0), Err(code::UNAUTHORIZED));
    }

    #[test]
    fn a_token_before_its_time_invites_another() {
        let early = token(Jwa::HS256, "new", r#"{"sub":"42","nbf":50}"#);
        assert_eq!(verifier().verify(&early, 49), Err(code::TOKEN_EXPIRED));
        assert!(verifier().verify(&early, 50).is_ok());
    }
}
