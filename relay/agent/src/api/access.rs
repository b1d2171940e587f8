//! Who may use the server API: whoever shows one of its keys.
//!
//! Keeps digests, compared in constant time; never a key.

use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{self, SHA256};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};

use crate::config::{Errors, HttpApi};

/// What the configuration says of the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    keys: Vec<[u8; 32]>,
    insecure: bool,
    errors: Errors,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// There is no API.
    Off,
    /// It shows no key, or one that is not known.
    Refused,
    /// It is served.
    Admitted,
}

impl Access {
    pub(crate) fn new(config: &HttpApi) -> Self {
        let keys = std::iter::once(&config.key).chain(&config.more_keys);
        Self {
            keys: keys.filter(|key| !key.is_empty()).map(|key| digest(key.bytes())).collect(),
            insecure: config.insecure,
            errors: config.error_mode.0,
        }
    }

    pub(crate) const fn is_off(&self) -> bool {
        self.keys.is_empty() && !self.insecure
    }

    pub(crate) const fn is_insecure(&self) -> bool {
        self.insecure
    }

    pub(crate) fn judge(&self, headers: &HeaderMap) -> Verdict {
        if self.is_off() {
            return Verdict::Off;
        }
        if self.insecure {
            // A page that a developer's browser shows may not use it: those say where they are from.
            return if headers.contains_key(ORIGIN) { Verdict::Refused } else { Verdict::Admitted };
        }
        let shown = shown(headers).map(digest);
        let good = |key: &[u8; 32]| {
            shown.is_some_and(|shown| constant_time::verify_slices_are_equal(key, &shown).is_ok())
        };
        if self.keys.iter().any(good) { Verdict::Admitted } else { Verdict::Refused }
    }

    /// How this request's errors are told; one request may ask for another way than the configuration's.
    pub(crate) fn errors(&self, headers: &HeaderMap) -> Errors {
        match headers.get("x-centrifugo-error-mode").map(axum::http::HeaderValue::as_bytes) {
            Some(b"transport") => Errors::Transport,
            _ => self.errors,
        }
    }
}

/// The key in `X-API-Key`, or in `Authorization: apikey KEY`.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_ascii())
}

const SCHEME: &[u8] = b"apikey ";

fn digest(key: &[u8]) -> [u8; 32] {
    let mut short = [0; 32];
    short.copy_from_slice(digest::digest(&SHA256, key).as_ref());
    short
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn access(text: &str) -> Access {
        Access::new(&crate::config::read("relay.toml", text, []).unwrap().config.http_api)
    }

    fn judged(access: &Access, name: &'static str, value: &'static str) -> Verdict {
        access.judge(&HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]))
    }

    #[test]
    fn without_a_key_there_is_no_api() {
        assert_eq!(access("").judge(&HeaderMap::new()), Verdict::Off);
    }

    #[test]
    fn any_of_the_keys_will_do_in_either_field() {
        let access = access("[http_api]\nkey = \"new\"\nmore_keys = [\"old\"]\n");
        for (name, value) in [
            ("x-api-key", "new"),
            ("x-api-key", "old"),
            ("authorization", "apikey new"),
            ("authorization", "ApiKey old"),
        ] {
            assert_eq!(judged(&access, name, value), Verdict::Admitted, "{name}: {value}");
        }
        for (name, value) in [
            ("x-api-key", "ne"),
            ("x-api-key", ""),
            ("authorization", "new"),
            ("authorization", "Bearer new"),
            ("cookie", "new"),
        ] {
            assert_eq!(judged(&access, name, value), Verdict::Refused, "{name}: {value}");
        }
        assert_eq!(access.judge(&HeaderMap::new()), Verdict::Refused);
        let shown = format!("{access:?}");
        assert!(!shown.contains("new") && !shown.contains("old"), "{shown}");
    }

    #[test]
    fn an_insecure_api_is_not_for_pages() {
        let access = access("[http_api]\ninsecure = true\n");
        assert_eq!(access.judge(&HeaderMap::new()), Verdict::Admitted);
        assert_eq!(judged(&access, "origin", "http://localhost:3000"), Verdict::Refused);
    }

    #[test]
    fn a_request_may_ask_for_errors_as_statuses() {
        let access = access("[http_api]\nkey = \"k\"\n");
        assert_eq!(access.errors(&HeaderMap::new()), Errors::Body);
        let headers = HeaderMap::from_iter([(
            "x-centrifugo-error-mode".parse().unwrap(),
            HeaderValue::from_static("transport"),
        )]);
        assert_eq!(access.errors(&headers), Errors::Transport);
    }
}
