//! How tokens are verified: one list of keys, used for tokens of connections and, where they differ, of subscriptions.

use std::path::PathBuf;
use std::time::Duration;

use wire::config::{Places, Problem};
use wire::config_table;
use wire::pattern::Pattern;
use wire::settings::{Expected, Tokens};

use super::Secret;
use super::check::read_text;
use crate::fetch::Endpoint;
use crate::jwks;

macro_rules! token_table {
    ($(#[doc = $doc:literal])* $name:ident { $($first:tt)* }) => {
        config_table! {
            $(#[doc = $doc])*
            pub struct $name {
                $($first)*
                /// Secret of HS256, HS384 and HS512 tokens. Stays in the relay, which verifies these tokens itself.
                hmac_secret_key: Secret = Secret::default(),
                /// The secret before the last change: tokens signed with it are still good.
                hmac_previous_secret_key: Secret = Secret::default(),
                /// Unix seconds from which they are no longer. 0: they are good until the key is removed here.
                hmac_previous_secret_key_valid_until: u64 = 0,
                /// Public key of RS256, RS384, RS512, PS256, PS384 and PS512 tokens, as PEM.
                rsa_public_key: Option<String> = None,
                /// Public key of ES256, ES384 and ES512 tokens, as PEM.
                ecdsa_public_key: Option<String> = None,
                /// Public key of EdDSA (Ed25519) tokens, as PEM.
                eddsa_public_key: Option<String> = None,
                /// Public keys as a JWK set: {"keys": [...]}.
                jwks: Option<String> = None,
                /// A file with a JWK set. Read again on reload.
                jwks_file: Option<PathBuf> = None,
                /// Where the relay fetches a JWK set: an http or https URL on the private side.
                jwks_public_endpoint: Option<String> = None,
                /// How long a fetched set is used before it is fetched again. A token with an unknown key fetches it at once.
                jwks_refresh_interval: Duration = Duration::from_secs(3600),
                /// How long one fetch may take. It is tried twice.
                jwks_timeout: Duration = Duration::from_secs(1),
                /// PEM file with the authorities that sign the endpoint's certificate. Without it: those of the system.
                jwks_root_ca_file: Option<PathBuf> = None,
                /// What a token's aud must have.
                audience: Option<String> = None,
                /// A regular expression that one of a token's aud must match. Not with audience.
                audience_regex: Option<String> = None,
                /// What a token's iss must be.
                issuer: Option<String> = None,
                /// A regular expression that a token's iss must match. Not with issuer.
                issuer_regex: Option<String> = None,
            }
        }

        impl $name {
            /// The shared secrets, the present one first, each with the Unix second that ends it (0: none does).
            pub fn secrets(&self) -> impl Iterator<Item = (&Secret, u64)> {
                let until = self.hmac_previous_secret_key_valid_until;
                [(&self.hmac_secret_key, 0), (&self.hmac_previous_secret_key, until)]
                    .into_iter()
                    .filter(|(secret, _)| !secret.is_empty())
            }

            /// As gateways get it, without what is fetched. `table` is where problems are.
            pub(super) fn checked(
                &self,
                table: &str,
                places: &Places,
                problems: &mut Vec<Problem>,
            ) -> (Tokens, Option<Endpoint>) {
                let mut problem = |key: &str, what: &str| problems.push(places.problem(&format!("{table}.{key}"), what));
                let mut set = jwks::Set::default();
                let pems = [
                    ("rsa_public_key", &self.rsa_public_key, jwks::Kind::Rsa),
                    ("ecdsa_public_key", &self.ecdsa_public_key, jwks::Kind::Ecdsa),
                    ("eddsa_public_key", &self.eddsa_public_key, jwks::Kind::Eddsa),
                ];
                for (key, pem, kind) in pems {
                    let Some(pem) = pem else { continue };
                    if let Err(what) = set.add_pem(kind, pem) {
                        problem(key, &what);
                    }
                }
                if let Some(text) = &self.jwks
                    && let Err(what) = set.add_set(text)
                {
                    problem("jwks", &what);
                }
                if let Some(path) = &self.jwks_file
                    && let Err(what) = read_text(path).and_then(|text| set.add_set(&text))
                {
                    problem("jwks_file", &format!("{}: {what}", path.display()));
                }
                let endpoint = self.jwks_public_endpoint.as_ref().and_then(|url| {
                    let interval = (self.jwks_refresh_interval, self.jwks_timeout);
                    Endpoint::new(url, interval, self.jwks_root_ca_file.as_deref())
                        .map_err(|(key, what)| problem(key, &what))
                        .ok()
                });
                let audience = expected(&self.audience, &self.audience_regex, "audience", &mut problem);
                let issuer = expected(&self.issuer, &self.issuer_regex, "issuer", &mut problem);
                let (jwks, hmac) = (set.finish(), self.secrets().next().is_some());
                (Tokens { jwks, fetched: endpoint.is_some(), hmac, audience, issuer }, endpoint)
            }
        }
    };
}

token_table! {
    /// `[client.token]`.
    Token {}
}

token_table! {
    /// `[client.subscription_token]`.
    SubscriptionToken {
        /// Verify subscription tokens with the keys of this table and no others.
        enabled: bool = false,
    }
}

fn expected(
    exactly: &Option<String>,
    like: &Option<String>,
    name: &str,
    problem: &mut impl FnMut(&str, &str),
) -> Expected {
    let key = format!("{name}_regex");
    match (exactly.as_deref(), like.as_deref()) {
        (Some(_), Some(_)) => problem(&key, &format!("cannot be used together with {name}")),
        (Some(""), None) => problem(name, "is empty: leave the key out if anything is good"),
        (Some(text), None) => return Expected::Exactly(text.to_owned()),
        (None, Some(text)) => match Pattern::new(text) {
            Ok(pattern) => return Expected::Like(pattern),
            Err(error) => problem(&key, &error.to_string()),
        },
        (None, None) => {}
    }
    Expected::Anything
}
