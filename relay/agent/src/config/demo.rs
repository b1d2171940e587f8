//! Whether `[demo]` fits the rest: it hands out tokens, so it is for one machine only.

use wire::config::{Places, Problem};

use super::Config;

pub(super) fn check(config: &Config, places: &Places, problems: &mut Vec<Problem>) {
    let demo = &config.demo;
    let Some(url) = &demo.url else {
        if demo.library.is_some() {
            problems.push(places.problem("demo.library", "needs url: without it there is no page"));
        }
        return;
    };
    let mut problem = |key: &str, text: &str| problems.push(places.problem(key, text));
    if connect_source(url).is_none() {
        let text = format!(
            "found {url:?}, expected an address such as \"wss://localhost:8443/connection/websocket\""
        );
        problem("demo.url", &text);
    }
    if demo.library.is_none() {
        problem("demo.library", "is missing: name dist/centrifuge.js of the npm package");
    }
    if config.client.token.hmac_secret_key.is_empty() {
        problem("demo.url", "needs client.token.hmac_secret_key: the page's tokens are signed with it");
    }
    let address = config.http.address.ip();
    if !address.is_loopback() {
        let text = format!(
            "hands out tokens for any name, and http.address is {address}: it must be loopback, or leave [demo] out"
        );
        problem("demo.url", &text);
    }
}

/// Scheme, host and port of a WebSocket address, which may stand in a policy for pages.
pub(crate) fn connect_source(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let good = matches!(scheme, "ws" | "wss") && !host.is_empty() && host.bytes().all(plain);
    good.then(|| &url[..scheme.len() + "://".len() + host.len()])
}
