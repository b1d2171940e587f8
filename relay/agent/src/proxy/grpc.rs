//! The ecosystem's gRPC service `CentrifugoProxy`: its messages as far as they mean something here. Unknown fields are skipped.
//!
//! `relay/proxy.proto` says the same for backends. No code is generated from it: types written by hand need no protoc and no build step,
//! and a test holds the two together.

use std::collections::HashMap;

use hyper::body::{Buf, Bytes};
use hyper::http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::BufMut;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use wire::backend::Refusal;
use wire::token::Overrides;

use super::answer::{Answer, Said, Shown};
use super::request::{Method, Told};

/// Where a method is.
pub(super) fn path(method: Method) -> PathAndQuery {
    PathAndQuery::from_static(match method {
        Method::Connect => "/centrifugal.centrifugo.proxy.CentrifugoProxy/Connect",
        Method::Refresh => "/centrifugal.centrifugo.proxy.CentrifugoProxy/Refresh",
        Method::Subscribe => "/centrifugal.centrifugo.proxy.CentrifugoProxy/Subscribe",
        Method::Publish => "/centrifugal.centrifugo.proxy.CentrifugoProxy/Publish",
        Method::SubRefresh => "/centrifugal.centrifugo.proxy.CentrifugoProxy/SubRefresh",
        Method::Call => "/centrifugal.centrifugo.proxy.CentrifugoProxy/RPC",
    })
}

macro_rules! messages {
    ($($(#[doc = $doc:literal])* $name:ident { $($tag:tt => $field:ident: $kind:ty as ($($how:tt)+),)* })*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Message)]
        pub(super) struct $name {
            $(#[prost($($how)+, tag = $tag)]
            pub(super) $field: $kind,)*
        }
    )*

    /// Message, field and number of all of them.
    #[cfg(test)]
    const FIELDS: &[(&str, &str, &str)] = &[$($((stringify!($name), stringify!($field), stringify!($tag))),*),*];
    };
}

messages! {
    ConnectRequest {
        1 => client: String as (string),
        2 => transport: String as (string),
        3 => protocol: String as (string),
        4 => encoding: String as (string),
        10 => data: Vec<u8> as (bytes = "vec"),
        11 => b64data: String as (string),
        12 => name: String as (string),
        13 => version: String as (string),
        14 => channels: Vec<String> as (string, repeated),
    }
    RefreshRequest {
        1 => client: String as (string),
        2 => transport: String as (string),
        3 => protocol: String as (string),
        4 => encoding: String as (string),
        10 => user: String as (string),
        11 => meta: Vec<u8> as (bytes = "vec"),
    }
    SubscribeRequest {
        1 => client: String as (string),
        2 => transport: String as (string),
        3 => protocol: String as (string),
        4 => encoding: String as (string),
        10 => user: String as (string),
        11 => channel: String as (string),
        13 => meta: Vec<u8> as (bytes = "vec"),
        14 => data: Vec<u8> as (bytes = "vec"),
        15 => b64data: String as (string),
    }
    PublishRequest {
        1 => client: String as (string),
        2 => transport: String as (string),
        3 => protocol: String as (string),
        4 => encoding: String as (string),
        10 => user: String as (string),
        11 => channel: String as (string),
        12 => data: Vec<u8> as (bytes = "vec"),
        13 => b64data: String as (string),
        14 => meta: Vec<u8> as (bytes = "vec"),
    }
    CallRequest {
        1 => client: String as (string),
        2 => transport: String as (string),
        3 => protocol: String as (string),
        4 => encoding: String as (string),
        10 => user: String as (string),
        11 => method: String as (string),
        12 => data: Vec<u8> as (bytes = "vec"),
        13 => b64data: String as (string),
        14 => meta: Vec<u8> as (bytes = "vec"),
    }
    SubRefreshRequest {
        1 => client: String as (string),
        2 => transport: String as (string),
        3 => protocol: String as (string),
        4 => encoding: String as (string),
        10 => user: String as (string),
        11 => channel: String as (string),
        12 => meta: Vec<u8> as (bytes = "vec"),
    }
    ConnectResult {
        1 => user: String as (string),
        2 => expire_at: i64 as (int64),
        3 => info: Vec<u8> as (bytes = "vec"),
        4 => b64info: String as (string),
        5 => data: Vec<u8> as (bytes = "vec"),
        6 => b64data: String as (string),
        7 => channels: Vec<String> as (string, repeated),
        8 => subs: HashMap<String, SubscribeResult> as (map = "string, message"),
        9 => meta: Vec<u8> as (bytes = "vec"),
    }
    RefreshResult {
        1 => expired: bool as (bool),
        2 => expire_at: i64 as (int64),
        3 => info: Vec<u8> as (bytes = "vec"),
        4 => b64info: String as (string),
        5 => meta: Vec<u8> as (bytes = "vec"),
    }
    /// Also one subscription of a [`ConnectResult`].
    SubscribeResult {
        1 => expire_at: i64 as (int64),
        2 => info: Vec<u8> as (bytes = "vec"),
        3 => b64info: String as (string),
        4 => data: Vec<u8> as (bytes = "vec"),
        5 => b64data: String as (string),
        6 => overrides: Option<Override> as (message, optional),
    }
    Override {
        1 => presence: Option<Switch> as (message, optional),
        2 => join_leave: Option<Switch> as (message, optional),
        3 => force_recovery: Option<Switch> as (message, optional),
        4 => force_positioning: Option<Switch> as (message, optional),
        5 => force_push_join_leave: Option<Switch> as (message, optional),
    }
    Switch {
        1 => value: bool as (bool),
    }
    PublishResult {
        1 => data: Vec<u8> as (bytes = "vec"),
        2 => b64data: String as (string),
        3 => skip_history: bool as (bool),
        4 => tags: HashMap<String, String> as (map = "string, string"),
        5 => idempotency_key: String as (string),
        6 => delta: bool as (bool),
    }
    CallResult {
        1 => data: Vec<u8> as (bytes = "vec"),
        2 => b64data: String as (string),
    }
    Error {
        1 => code: u32 as (uint32),
        2 => message: String as (string),
        3 => temporary: bool as (bool),
    }
    Disconnect {
        1 => code: u32 as (uint32),
        2 => reason: String as (string),
    }
    ConnectResponse {
        1 => result: Option<ConnectResult> as (message, optional),
        2 => error: Option<Error> as (message, optional),
        3 => disconnect: Option<Disconnect> as (message, optional),
    }
    /// Of a session or a subscription.
    RefreshResponse {
        1 => result: Option<RefreshResult> as (message, optional),
        2 => error: Option<Error> as (message, optional),
        3 => disconnect: Option<Disconnect> as (message, optional),
    }
    SubscribeResponse {
        1 => result: Option<SubscribeResult> as (message, optional),
        2 => error: Option<Error> as (message, optional),
        3 => disconnect: Option<Disconnect> as (message, optional),
    }
    PublishResponse {
        1 => result: Option<PublishResult> as (message, optional),
        2 => error: Option<Error> as (message, optional),
        3 => disconnect: Option<Disconnect> as (message, optional),
    }
    CallResponse {
        1 => result: Option<CallResult> as (message, optional),
        2 => error: Option<Error> as (message, optional),
        3 => disconnect: Option<Disconnect> as (message, optional),
    }
}

/// The message of a question.
pub(super) fn request(method: Method, told: &Told<'_>) -> Bytes {
    macro_rules! message {
        ($name:ident { $($field:ident),* }) => {
            $name {
                client: told.client.clone(),
                transport: told.transport.to_owned(),
                protocol: told.protocol.to_owned(),
                encoding: told.encoding.to_owned(),
                $($field,)*
            }
            .encode_to_vec()
            .into()
        };
    }
    let user = told.user.unwrap_or_default().to_owned();
    let channel = told.channel.unwrap_or_default().to_owned();
    let meta = told.meta.map_or_else(Vec::new, |meta| meta.get().as_bytes().to_vec());
    let (data, b64data) = (told.bytes.to_vec(), told.b64data.clone());
    match method {
        Method::Connect => {
            let (name, version) = (told.name.to_owned(), told.version.to_owned());
            let channels = told.channels.iter().map(|channel| (*channel).to_owned()).collect();
            message!(ConnectRequest { data, b64data, name, version, channels })
        }
        Method::Refresh => message!(RefreshRequest { user, meta }),
        Method::Subscribe => message!(SubscribeRequest { user, channel, meta, data, b64data }),
        Method::Publish => message!(PublishRequest { user, channel, data, b64data, meta }),
        Method::SubRefresh => message!(SubRefreshRequest { user, channel, meta }),
        Method::Call => {
            let method = told.method.unwrap_or_default().to_owned();
            message!(CallRequest { user, method, data, b64data, meta })
        }
    }
}

/// Reads the message of an answer. `None`: it is not one.
pub(super) fn said(method: Method, body: &[u8]) -> Option<Said> {
    macro_rules! read {
        ($kind:ident) => {{
            let $kind { result, error, disconnect } = $kind::decode(body).ok()?;
            let error = error.map(|Error { code, message, temporary }| Refusal { code, message, temporary });
            let disconnect = disconnect.map(|disconnect| (disconnect.code, disconnect.reason));
            Some(Said { result: result.map(Answer::from), error, disconnect })
        }};
    }
    match method {
        Method::Connect => read!(ConnectResponse),
        Method::Refresh | Method::SubRefresh => read!(RefreshResponse),
        Method::Subscribe => read!(SubscribeResponse),
        Method::Publish => read!(PublishResponse),
        Method::Call => read!(CallResponse),
    }
}

impl From<ConnectResult> for Answer {
    fn from(result: ConnectResult) -> Self {
        let ConnectResult { user, expire_at, info, b64info, data, b64data, channels, subs, meta } = result;
        let shown = Shown { info, b64info, data, b64data };
        let sub = |sub: SubscribeResult| {
            let SubscribeResult { info, b64info, data, b64data, overrides, .. } = sub;
            (Shown { info, b64info, data, b64data }, overrides.unwrap_or_default().into())
        };
        let subs = subs.into_iter().map(|(channel, options)| (channel, sub(options))).collect();
        Self { user, expire_at, shown, channels, subs, meta, ..Self::default() }
    }
}

impl From<RefreshResult> for Answer {
    fn from(result: RefreshResult) -> Self {
        let RefreshResult { expired, expire_at, info, b64info, meta } = result;
        let shown = Shown { info, b64info, ..Shown::default() };
        Self { expired, expire_at, shown, meta, ..Self::default() }
    }
}

impl From<SubscribeResult> for Answer {
    fn from(result: SubscribeResult) -> Self {
        let SubscribeResult { expire_at, info, b64info, data, b64data, overrides } = result;
        let shown = Shown { info, b64info, data, b64data };
        Self { expire_at, shown, overrides: overrides.unwrap_or_default().into(), ..Self::default() }
    }
}

impl From<PublishResult> for Answer {
    fn from(result: PublishResult) -> Self {
        let PublishResult { data, b64data, skip_history, tags, idempotency_key: key, delta } = result;
        let shown = Shown { data, b64data, ..Shown::default() };
        Self { shown, skip_history, tags: tags.into_iter().collect(), key, delta, ..Self::default() }
    }
}

impl From<CallResult> for Answer {
    fn from(CallResult { data, b64data }: CallResult) -> Self {
        Self { shown: Shown { data, b64data, ..Shown::default() }, ..Self::default() }
    }
}

impl From<Override> for Overrides {
    fn from(overrides: Override) -> Self {
        let value = |switch: Option<Switch>| switch.map(|switch| switch.value);
        Self {
            presence: value(overrides.presence),
            join_leave: value(overrides.join_leave),
            force_push_join_leave: value(overrides.force_push_join_leave),
            force_recovery: value(overrides.force_recovery),
            force_positioning: value(overrides.force_positioning),
        }
    }
}

/// Messages as the bytes they are.
pub(super) struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = include_str!("../../../proxy.proto");

    #[test]
    fn every_field_is_in_the_service_that_backends_are_written_to() {
        for (message, field, number) in FIELDS {
            let name = match *message {
                "CallRequest" => "RPCRequest",
                "CallResult" => "RPCResult",
                "CallResponse" => "RPCResponse",
                "Override" => "SubscribeOptionOverride",
                "Switch" => "BoolValue",
                name => name,
            };
            let field = if *field == "overrides" { "override" } else { field };
            let (_, rest) = PROTO.split_once(&format!("message {name} {{")).unwrap();
            let (body, _) = rest.split_once('}').unwrap();
            let line = format!(" {field} = {number};");
            assert!(body.contains(&line), "{name} has no{line}");
        }
        for method in [Method::Connect, Method::SubRefresh, Method::Call] {
            let (service, name) = path(method).as_str()[1..]
                .split_once('/')
                .map(|(s, n)| (s.to_owned(), n.to_owned()))
                .unwrap();
            assert_eq!(service, "centrifugal.centrifugo.proxy.CentrifugoProxy");
            assert!(PROTO.contains(&format!("rpc {name}(")));
        }
    }

    #[test]
    fn an_answer_means_the_same_as_in_json() {
        let result = SubscribeResult {
            expire_at: 5,
            data: b"[1]".to_vec(),
            overrides: Some(Override { presence: Some(Switch { value: true }), ..Override::default() }),
            ..SubscribeResult::default()
        };
        let bytes =
            SubscribeResponse { result: Some(result), ..SubscribeResponse::default() }.encode_to_vec();
        let json = br#"{"result":{"expire_at":5,"data":[1],"override":{"presence":{"value":true}}}}"#;
        let decide = |said: Option<Said>| said.unwrap().decide(Method::Subscribe, "chat:1").unwrap();
        assert_eq!(decide(said(Method::Subscribe, &bytes)), decide(Said::json(json)));
        let error = Error { code: 1000, message: "no".to_owned(), temporary: false };
        let bytes = CallResponse { error: Some(error), ..CallResponse::default() }.encode_to_vec();
        let json = br#"{"error":{"code":1000,"message":"no"}}"#;
        assert_eq!(decide(said(Method::Call, &bytes)), decide(Said::json(json)));
        assert!(said(Method::Call, b"\xff").is_none());
    }
}
