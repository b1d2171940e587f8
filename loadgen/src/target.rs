//! Where to connect: a `ws://` or `wss://` address, taken apart and resolved once.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A server's WebSocket endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As given.
    pub url: String,
    /// `wss`.
    pub tls: bool,
    /// Without port or brackets: what a certificate must name.
    pub host: String,
    /// For the `Host` field: with the port unless it is the scheme's own.
    pub authority: String,
    /// With the query.
    pub path: String,
    /// The first address of the host.
    pub addr: SocketAddr,
}

/// The endpoint of the ecosystem's servers, when the address names none.
const PATH_DEFAULT: &str = "/connection/websocket";

impl Target {
    /// Takes `url` apart and resolves its host. The error is a sentence.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (tls, rest) = match url.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            _ => {
                return Err(format!(
                    "{url:?} is not a WebSocket address: write ws://HOST:PORT/PATH or wss://HOST:PORT/PATH"
                ));
            }
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = match path {
            "" | "/" => PATH_DEFAULT.to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') {
            return Err(format!("the path {path:?} has characters that must be percent-encoded"));
        }
        let (host, port) = split_port(authority, if tls { 443 } else { 80 })
            .ok_or_else(|| format!("{authority:?} is not HOST:PORT"))?;
        let addr = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| format!("{host} cannot be resolved: {error}"))?
            .next()
            .ok_or_else(|| format!("{host} has no address"))?;
        Ok(Self { url: url.to_owned(), tls, host, authority: authority.to_owned(), path, addr })
    }

    /// Whether both ends are on this machine.
    pub fn is_local(&self) -> bool {
        match self.addr.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        }
    }
}

/// Host without brackets, and port.
fn split_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    (!host.is_empty() && !host.contains('@')).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let target = Target::parse("wss://127.0.0.1:8443/connection/websocket?format=json").unwrap();
        assert!(target.tls && target.is_local());
        assert_eq!(target.host, "127.0.0.1");
        assert_eq!(target.authority, "127.0.0.1:8443");
        assert_eq!(target.path, "/connection/websocket?format=json");
        assert_eq!(target.addr, "127.0.0.1:8443".parse().unwrap());
    }

    #[test]
    fn ports_and_paths_have_the_defaults_of_scheme_and_ecosystem() {
        let target = Target::parse("wss://[::1]").unwrap();
        assert_eq!(
            (target.addr.port(), target.host.as_str(), target.path.as_str()),
            (443, "::1", PATH_DEFAULT)
        );
        assert_eq!(Target::parse("ws://127.0.0.1/").unwrap().addr.port(), 80);
        assert_eq!(Target::parse("ws://127.0.0.1:9?x=1").unwrap().path, "/?x=1");
    }

    #[test]
    fn what_is_not_an_address_is_told_how_one_looks() {
        for url in
            ["http://a", "127.0.0.1:80", "ws://", "ws://:80", "ws://a:b", "ws://u@127.0.0.1:1", "ws://[::1]x"]
        {
            assert!(Target::parse(url).is_err(), "{url}");
        }
        assert!(Target::parse("http://a").unwrap_err().contains("wss://HOST:PORT"));
        assert!(Target::parse("ws://127.0.0.1:1/a b").unwrap_err().contains("percent-encoded"));
    }
}
