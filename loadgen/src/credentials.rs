//! Who each connection says it is: nobody, one given token for all, or a user of its own with a token signed here.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::pattern::Pattern;

/// Where a connection's token comes from.
#[derive(Clone)]
pub enum Credentials {
    /// No token: the server must accept anonymous clients.
    Anonymous,
    /// The same for all.
    Token(String),
    /// One per user, signed with the server's HMAC secret (HS256).
    Signed {
        /// The secret.
        key: EncodingKey,
        /// Names of users.
        user: Pattern,
    },
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
}

impl Credentials {
    /// Tokens signed with `secret` for users named by `user`. They do not expire.
    pub fn signed(secret: &str, user: Pattern) -> Self {
        Self::Signed { key: EncodingKey::from_secret(secret.as_bytes()), user }
    }

    /// The token of connection `number`, empty for none.
    pub fn token(&self, number: u32) -> Result<String, String> {
        match self {
            Self::Anonymous => Ok(String::new()),
            Self::Token(token) => Ok(token.clone()),
            Self::Signed { key, user } => {
                let name = user.name(number);
                jsonwebtoken::encode(&Header::new(Algorithm::HS256), &Claims { sub: &name }, key)
                    .map_err(|error| format!("the token cannot be signed: {error}"))
            }
        }
    }
}

impl std::fmt::Debug for Credentials {
    /// Tells no secret.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Token(_) => "Token",
            Self::Signed { .. } => "Signed",
        })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Read {
        sub: String,
    }

    #[test]
    fn each_connection_is_a_user_of_its_own_with_a_token_the_secret_verifies() {
        let credentials = Credentials::signed("secret", Pattern::parse("user-{n%10}").unwrap());
        let token = credentials.token(123).unwrap();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.required_spec_claims.clear();
        let read = decode::<Read>(&token, &DecodingKey::from_secret(b"secret"), &rules).unwrap();
        assert_eq!(read.claims.sub, "user-3");
        assert!(decode::<Read>(&token, &DecodingKey::from_secret(b"other"), &rules).is_err());
    }

    #[test]
    fn anonymous_connections_have_none_and_a_given_one_is_used_by_all() {
        assert_eq!(Credentials::Anonymous.token(7).unwrap(), "");
        assert_eq!(Credentials::Token("t".into()).token(7).unwrap(), "t");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let credentials = Credentials::signed("secret", Pattern::parse("u").unwrap());
        assert_eq!(format!("{credentials:?}"), "Signed");
    }
}
