//! Tokens that are signed with a shared secret, which only this program knows.

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto};
use wire::code::{self, ErrorCode};
use wire::settings::{Settings, Tokens};
use wire::token::{Algorithm, Claims, Kind, Unverified};

use crate::config::{Client, Secret};

/// The shared secrets of both kinds of tokens.
#[derive(Debug, Default)]
pub struct Verifier {
    connection: Secrets,
    /// `None`: as those of connections.
    subscription: Option<Secrets>,
}

/// The shared secrets of one kind, and what else is expected of its tokens.
#[derive(Debug, Default)]
struct Secrets {
    /// Each with the Unix second that ends it; 0 is never.
    keys: Vec<(DecodingKey, u64)>,
    expected: Tokens,
}

impl Verifier {
    /// The secrets of a configuration and, of the settings it became, what is expected of tokens.
    pub fn new(client: &Client, settings: &Settings) -> Self {
        let other = client.subscription_token.enabled.then_some(&client.subscription_token);
        Self {
            connection: Secrets::new(client.token.secrets(), &settings.tokens),
            subscription: other.map(|other| Secrets::new(other.secrets(), settings.subscription_tokens())),
        }
    }

    /// What a genuine token says. Its expiry is for the receiver to check. The error is what the gateway is told:
    /// "token expired" for one whose time has not come (another would do), "unauthorized" for one that never will.
    pub fn verify(&self, kind: Kind, token: &str, unix: u64) -> Result<Claims, ErrorCode> {
        let secrets = match (kind, &self.subscription) {
            (Kind::Subscription, Some(own)) => own,
            _ => &self.connection,
        };
        let token = Unverified::parse(token).map_err(|_| code::UNAUTHORIZED)?;
        if !secrets.have_signed(&token, unix)? {
            return Err(code::UNAUTHORIZED);
        }
        let payload = token.payload(kind).map_err(|_| code::UNAUTHORIZED)?;
        if !payload.expected(&secrets.expected) {
            return Err(code::UNAUTHORIZED);
        }
        if payload.early(unix) {
            return Err(code::TOKEN_EXPIRED);
        }
        Ok(payload.claims)
    }
}

impl Secrets {
    fn new<'a>(secrets: impl Iterator<Item = (&'a Secret, u64)>, tokens: &Tokens) -> Self {
        let keys = secrets.map(|(secret, until)| (DecodingKey::from_secret(secret.bytes()), until)).collect();
        let (audience, issuer) = (tokens.audience.clone(), tokens.issuer.clone());
        Self { keys, expected: Tokens { audience, issuer, ..Tokens::default() } }
    }

    fn have_signed(&self, token: &Unverified<'_>, unix: u64) -> Result<bool, ErrorCode> {
        let algorithm = shared(token.algorithm).ok_or(code::UNAUTHORIZED)?;
        let signed =
            |key: &DecodingKey| crypto::verify(token.signature, token.message.as_bytes(), key, algorithm);
        let good = |until: u64| until == 0 || unix < until;
        Ok(self.keys.iter().any(|(key, until)| good(*until) && signed(key).unwrap_or(false)))
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

    use super::*;

    const BOTH: &str = "hmac_secret_key = \"new\"\nhmac_previous_secret_key = \"old\"\n";

    /// With these keys in `[client.token]`, and whatever comes after them.
    fn verifier_of(token: &str) -> Verifier {
        let text = format!("[client.token]\n{token}");
        let checked = crate::config::read("relay.toml", &text, []).unwrap();
        Verifier::new(&checked.config.client, &checked.settings)
    }

    fn verifier() -> Verifier {
        verifier_of(BOTH)
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
            let claims = verifier()
                .verify(Kind::Connection, &token(algorithm, secret, r#"{"sub":"42","exp":5}"#), 100)
                .unwrap();
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
            assert_eq!(verifier().verify(Kind::Connection, &forged, 0), Err(code::UNAUTHORIZED), "{forged}");
        }
        assert_eq!(Verifier::default().verify(Kind::Connection, &genuine, 0), Err(code::UNAUTHORIZED));
    }

    #[test]
    fn a_token_before_its_time_invites_another() {
        let early = token(Jwa::HS256, "new", r#"{"sub":"42","nbf":50}"#);
        assert_eq!(verifier().verify(Kind::Connection, &early, 49), Err(code::TOKEN_EXPIRED));
        assert!(verifier().verify(Kind::Connection, &early, 50).is_ok());
    }

    #[test]
    fn the_previous_secret_is_good_until_its_time() {
        let verifier = verifier_of(&format!("{BOTH}hmac_previous_secret_key_valid_until = 100\n"));
        let old = token(Jwa::HS256, "old", r#"{"sub":"42"}"#);
        assert!(verifier.verify(Kind::Connection, &old, 99).is_ok());
        assert_eq!(verifier.verify(Kind::Connection, &old, 100), Err(code::UNAUTHORIZED));
        let new = token(Jwa::HS256, "new", r#"{"sub":"42"}"#);
        assert!(verifier.verify(Kind::Connection, &new, 100).is_ok());
    }

    #[test]
    fn tokens_of_subscriptions_have_their_own_secret_only_when_it_is_turned_on() {
        let subscription = token(Jwa::HS256, "new", r#"{"sub":"42","channel":"a"}"#);
        assert!(verifier().verify(Kind::Subscription, &subscription, 0).is_ok());
        assert_eq!(verifier().verify(Kind::Connection, &subscription, 0), Err(code::UNAUTHORIZED));
        let own = "[client.subscription_token]\nenabled = true\nhmac_secret_key = \"own\"\n";
        let verifier = verifier_of(&format!("{BOTH}{own}"));
        assert_eq!(verifier.verify(Kind::Subscription, &subscription, 0), Err(code::UNAUTHORIZED));
        let subscription = token(Jwa::HS256, "own", r#"{"sub":"42","channel":"a"}"#);
        assert_eq!(verifier.verify(Kind::Subscription, &subscription, 0).unwrap().subs[0].channel, "a");
    }

    #[test]
    fn a_token_for_somebody_else_or_of_another_issuer_is_not_good_here() {
        let verifier = verifier_of(&format!("{BOTH}audience = \"edge\"\nissuer_regex = \"^app-[0-9]$\"\n"));
        let good = token(Jwa::HS256, "new", r#"{"aud":["edge","x"],"iss":"app-1"}"#);
        assert!(verifier.verify(Kind::Connection, &good, 0).is_ok());
        for claims in [r#"{"aud":"x","iss":"app-1"}"#, r#"{"aud":"edge","iss":"app-12"}"#, "{}"] {
            let token = token(Jwa::HS256, "new", claims);
            assert_eq!(verifier.verify(Kind::Connection, &token, 0), Err(code::UNAUTHORIZED), "{claims}");
        }
    }
}
