//! Patterns of pages that may connect, as operators write them and as browsers send them.

/// One entry of the allow-list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pattern: Pattern,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Pattern {
    Any,
    /// A whole origin, in lower case.
    Exact(String),
    /// `scheme://*suffix`: the suffix begins with a dot.
    Below {
        scheme: String,
        suffix: String,
    },
}

/// Why a pattern is refused; names what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{found:?} is not an origin: write \"https://example.com\", \"https://*.example.com\" (with :port if it is not the default, without a path) or \"*\""
)]
pub struct OriginError {
    found: String,
}

impl Origin {
    /// Reads `*`, `null` (pages without an origin, such as local files), `scheme://host[:port]` or `scheme://*.host[:port]`.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError { found: text.to_owned() };
        let lower = text.to_ascii_lowercase();
        let pattern = match lower.as_str() {
            "*" => Pattern::Any,
            "null" => Pattern::Exact(lower),
            _ => {
                let (scheme, host) = lower.split_once("://").ok_or_else(wrong)?;
                let host = without_default_port(scheme, host);
                let name = host.strip_prefix("*.").unwrap_or(host);
                if !is_scheme(scheme) || !is_authority(name) {
                    return Err(wrong());
                }
                match host.strip_prefix('*') {
                    Some(suffix) => Pattern::Below { scheme: scheme.to_owned(), suffix: suffix.to_owned() },
                    None => Pattern::Exact(format!("{scheme}://{host}")),
                }
            }
        };
        Ok(Self { pattern })
    }

    /// Whether an `Origin` field's value is meant by this entry. `*.example.com` means every name below, at any depth, not the
    /// name itself.
    pub fn allows(&self, origin: &[u8]) -> bool {
        match &self.pattern {
            Pattern::Any => true,
            Pattern::Exact(exact) => origin.eq_ignore_ascii_case(exact.as_bytes()),
            Pattern::Below { scheme, suffix } => {
                let Some(host) = after_scheme(origin, scheme) else { return false };
                let Some(end) = host.len().checked_sub(suffix.len()) else { return false };
                let (labels, tail) = host.split_at(end);
                tail.eq_ignore_ascii_case(suffix.as_bytes())
                    && !labels.is_empty()
                    && labels.iter().all(|&byte| byte == b'.' || byte == b'_' || is_host_byte(byte))
            }
        }
    }
}

fn after_scheme<'a>(origin: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (found, rest) = origin.split_at_checked(scheme.len())?;
    if found.eq_ignore_ascii_case(scheme.as_bytes()) { rest.strip_prefix(b"://") } else { None }
}

/// Browsers leave the default port out.
fn without_default_port<'a>(scheme: &str, host: &'a str) -> &'a str {
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return host,
    };
    host.strip_suffix(port).unwrap_or(host)
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A name or address with an optional port, as an origin and a `Host` field have it.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        // An IPv6 address has colons of its own.
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", if port.is_empty() { None } else { Some(port) })
        }
        None => match text.find(':') {
            Some(colon) => (&text[..colon], Some(&text[colon..])),
            None => (text, None),
        },
    };
    let port_is_good = port.is_none_or(|port| {
        port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        })
    });
    let host_is_good =
        !host.is_empty() && host.bytes().all(|byte| b"._".contains(&byte) || is_host_byte(byte));
    host_is_good && port_is_good
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}
