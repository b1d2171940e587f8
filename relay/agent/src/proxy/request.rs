//! What a backend is told: one shape for HTTP and gRPC, and how HTTP writes it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;
use wire::backend::{Act, Event};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Method {
    Connect,
    Refresh,
    Subscribe,
    Publish,
    SubRefresh,
    Call,
}

impl Method {
    pub(super) const fn of(act: &Act<'_>) -> Self {
        match act {
            Act::Connect { .. } => Self::Connect,
            Act::Refresh => Self::Refresh,
            Act::Subscribe { .. } => Self::Subscribe,
            Act::Publish { .. } => Self::Publish,
            Act::SubRefresh { .. } => Self::SubRefresh,
            Act::Call { .. } => Self::Call,
        }
    }

    /// Whether asking twice does no more than asking once.
    pub(super) const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Publish | Self::Call)
    }
}

/// An event as a backend is told it.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    pub(super) client: String,
    pub(super) transport: &'static str,
    pub(super) protocol: &'static str,
    pub(super) encoding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) channels: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) b64data: String,
    /// The payload where a message takes any bytes and the backend does not want base64.
    #[serde(skip)]
    pub(super) bytes: &'a [u8],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<&'a RawValue>,
}

impl<'a> Told<'a> {
    /// With `binary`, payloads go as base64 whatever they are; without, only those that are not JSON.
    pub(super) fn new(event: &'a Event<'a>, binary: bool, meta: bool, grpc: bool) -> Self {
        let (mut name, mut version, mut channels, mut channel, mut method) = ("", "", &[][..], None, None);
        let data = match &event.act {
            Act::Connect { name: of, version: at, data, channels: all, .. } => {
                (name, version, channels) = (of, at, &all[..]);
                data
            }
            Act::Refresh => &[][..],
            Act::SubRefresh { channel: of } => {
                channel = Some(*of);
                &[]
            }
            Act::Subscribe { channel: of, data } | Act::Publish { channel: of, data, .. } => {
                channel = Some(*of);
                data
            }
            Act::Call { method: of, data } => {
                method = Some(*of);
                data
            }
        };
        let plain = grpc && !binary;
        let json = if binary { None } else { embedded(data) };
        let binary = json.is_none() && (binary || !data.is_empty());
        Self {
            client: event.client.to_string(),
            transport: event.transport.name(),
            protocol: if event.binary { "protobuf" } else { "json" },
            encoding: if binary { "binary" } else { "json" },
            user: (!matches!(event.act, Act::Connect { .. })).then_some(event.user),
            name,
            version,
            channels,
            channel,
            method,
            data: json,
            b64data: if binary && !plain { STANDARD.encode(data) } else { String::new() },
            bytes: if plain { data } else { &[] },
            meta: if meta { embedded(event.meta) } else { None },
        }
    }

    /// The body of a request.
    pub(super) fn json(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

fn embedded(json: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(json).ok()
}

/// Adds the fields of the client's own request, which the backend wants to be told, to those that every request has. What every request has
/// goes before what a client says.
pub(super) fn headers(every: &HeaderMap, event: &Event<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Act::Connect { headers: lines, .. } = event.act {
        for line in lines.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.windows(2).position(|pair| pair == b": ") else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(&line[colon + 2..]);
            if let (Ok(name), Ok(value)) = (name, value)
                && !every.contains_key(&name)
            {
                headers.append(name, value);
            }
        }
    }
    headers.extend(every.clone());
    headers
}

#[cfg(test)]
mod tests {
    use wire::ClientId;
    use wire::backend::Transport;

    use super::*;

    fn event<'a>(act: Act<'a>) -> Event<'a> {
        Event {
            client: ClientId::default(),
            user: "ann",
            transport: Transport::WebSocket,
            binary: false,
            meta: b"{\"plan\":1}",
            act,
        }
    }

    fn told(act: Act<'_>, binary: bool, meta: bool) -> serde_json::Value {
        serde_json::from_slice(&Told::new(&event(act), binary, meta, false).json()).unwrap()
    }

    const CLIENT: &str = "00000000-0000-0000-0000-000000000000";

    #[test]
    fn a_backend_is_told_what_is_known_in_the_ecosystems_words() {
        let connect = Act::Connect {
            name: "js",
            version: "5",
            data: b"{\"a\": 1}",
            channels: vec!["chat:1"],
            headers: b"",
        };
        assert_eq!(
            told(connect, false, true),
            serde_json::json!({
                "client": CLIENT, "transport": "websocket", "protocol": "json", "encoding": "json", "name": "js",
                "version": "5", "channels": ["chat:1"], "data": {"a": 1}, "meta": {"plan": 1},
            })
        );
        assert_eq!(
            told(Act::Refresh, false, false),
            serde_json::json!({
                "client": CLIENT, "transport": "websocket", "protocol": "json", "encoding": "json", "user": "ann",
            })
        );
        let call = told(Act::Call { method: "m", data: b"[1]" }, true, false);
        assert_eq!((&call["encoding"], &call["b64data"]), (&"binary".into(), &"WzFd".into()));
        assert_eq!(call["method"], "m");
    }

    #[test]
    fn a_payload_that_is_not_json_goes_as_base64() {
        let told = told(Act::Subscribe { channel: "c", data: b"\xff" }, false, false);
        assert_eq!((&told["encoding"], &told["b64data"]), (&"binary".into(), &"/w==".into()));
        assert_eq!((&told["channel"], told.get("data")), (&"c".into(), None));
    }

    #[test]
    fn fields_of_the_client_never_replace_those_of_the_operator() {
        let mut every = HeaderMap::new();
        every.insert("x-key", HeaderValue::from_static("ours"));
        let lines = b"cookie: a=b; c: d\r\nx-key: theirs\r\ncookie: e\r\n";
        let connect = Act::Connect { name: "", version: "", data: b"", channels: vec![], headers: lines };
        let all = headers(&every, &event(connect));
        let values = |name: &str| all.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((values("cookie"), values("x-key")), (vec!["a=b; c: d", "e"], vec!["ours"]));
    }
}
