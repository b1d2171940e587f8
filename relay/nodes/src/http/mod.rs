//! What every handler has in common: what is taken out of a request, with its bounds, and how it is checked.

mod cors;
mod extract;
mod serve;

pub mod check;

use axum::http::{HeaderMap, header};

pub use extract::{Body, Caller, Key, Path, Query, Source};
pub use serve::{routes, serve};

/// Whether the client has what an entity tag stands for (RFC 9110, section 13.1.2).
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_one_of_many_will_do() {
        let known = |text: &'static str| {
            let value = header::HeaderValue::from_static(text);
            is_known(&HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]), "\"a\"")
        };
        assert!(known("\"a\"") && known("W/\"a\"") && known("\"b\", \"a\"") && known("*"));
        assert!(!known("\"b\"") && !known("a"));
        assert!(!is_known(&HeaderMap::new(), "\"a\""));
    }
}
