//! Which backends are asked for what, and what is wrong with them, each said once and where it stands.

use wire::ClientId;
use wire::backend::{Act, Event, Transport};
use wire::code;

use super::{checked, refusal};
use crate::proxy::Proxies;

/// The backend that an event would go to.
fn asked(proxies: &Proxies, act: Act<'_>) -> Result<String, code::ErrorCode> {
    let client = ClientId::default();
    let event = Event { client, user: "ann", transport: Transport::WebSocket, binary: false, meta: b"", act };
    proxies.begin(std::time::Duration::ZERO, &event).map(|call| call.endpoint().name().to_owned())
}

#[test]
fn nobody_is_asked_unless_it_is_configured() {
    let checked = checked("");
    assert_eq!(checked.settings.backend, wire::settings::Backend::default());
    assert_eq!(asked(&checked.proxies, Act::Refresh), Err(code::NOT_AVAILABLE));
    assert_eq!(asked(&checked.proxies, Act::Call { method: "m", data: b"" }), Err(code::NOT_AVAILABLE));
}

#[test]
fn each_event_goes_to_the_backend_that_its_place_names() {
    let checked = checked(
        "[client.proxy.connect]\nenabled = true\nendpoint = \"http://a/connect\"\nhttp_headers = [\"Cookie\"]\n\
         [client.proxy.refresh]\nenabled = true\nendpoint = \"https://a/refresh\"\n\
         [channel.proxy.subscribe]\nendpoint = \"grpc://b:1\"\ninclude_connection_meta = true\n\
         [rpc.proxy]\nendpoint = \"http://c\"\n[rpc.without_namespace]\nproxy_enabled = true\n\
         [[rpc.namespaces]]\nname = \"game\"\nproxy_enabled = true\nproxy_name = \"other\"\n\
         [[rpc.namespaces]]\nname = \"off\"\n\
         [[proxies]]\nname = \"other\"\nendpoint = \"grpcs://d\"\ntimeout = \"4s\"\nhttp.static_headers = { X-Key = \"k\" }\n\
         [[channel.namespaces]]\nname = \"chat\"\nsubscribe_proxy_enabled = true\n\
         [[channel.namespaces]]\nname = \"news\"\nsubscribe_proxy_enabled = true\nsubscribe_proxy_name = \"other\"\n\
         publish_proxy_enabled = true\npublish_proxy_name = \"other\"\n\
         [channel.without_namespace]\nsub_refresh_proxy_enabled = true\nsub_refresh_proxy_name = \"other\"\n",
    );
    let backend = &checked.settings.backend;
    assert!(backend.connect && backend.refresh && backend.calls && backend.meta);
    assert_eq!(backend.headers, ["cookie"]);
    assert!(checked.settings.namespace("chat:1").unwrap().subscribe_proxy);
    assert!(!checked.settings.namespace("chat:1").unwrap().publish_proxy);
    let connect = Act::Connect { name: "", version: "", data: b"", channels: vec![], headers: b"" };
    let subscribe = |channel| Act::Subscribe { channel, data: b"" };
    let call = |method| Act::Call { method, data: b"" };
    let tags = wire::tags::Tags::NONE;
    let publish =
        Act::Publish { channel: "news:1", data: b"", conn_info: b"", chan_info: b"", tags, key: "" };
    for (act, expected) in [
        (connect, Ok("connect")),
        (Act::Refresh, Ok("refresh")),
        (subscribe("chat:1"), Ok("subscribe")),
        (subscribe("news:1"), Ok("other")),
        (subscribe("plain"), Err(code::NOT_AVAILABLE)),
        (publish, Ok("other")),
        (Act::SubRefresh { channel: "plain" }, Ok("other")),
        (call("m"), Ok("rpc")),
        (call("game:m"), Ok("other")),
        (call("off:m"), Err(code::NOT_AVAILABLE)),
        (call("nobody:m"), Err(code::METHOD_NOT_FOUND)),
    ] {
        let shown = format!("{act:?}");
        assert_eq!(asked(&checked.proxies, act), expected.map(str::to_owned), "{shown}");
    }
}

#[test]
fn what_is_wrong_is_said_where_it_stands() {
    let one = "[client.proxy.connect]\nenabled = true\n";
    let at = |more: &str| refusal(&format!("{one}{more}"));
    let missing = at("");
    assert!(missing.contains("relay.toml:1: 'endpoint' in [client.proxy.connect]: is missing"), "{missing}");
    for endpoint in ["a", "/a", "ftp://a", "http://", "grpc://a/b"] {
        let said = at(&format!("endpoint = \"{endpoint}\"\n"));
        assert!(said.contains(":3: 'endpoint'") && said.contains("expected a URL"), "{said}");
    }
    let slow = at("endpoint = \"http://a\"\ntimeout = \"5s\"\n");
    assert!(slow.contains("'timeout' in [client.proxy.connect]: must be above 0s and at most 4s"), "{slow}");
    let own = at("endpoint = \"http://a\"\nhttp_headers = [\"Content-Length\", \"a b\"]\n");
    assert!(
        own.contains("content-length is the request's own") && own.contains("no name of a field"),
        "{own}"
    );
    let headers = at(
        "endpoint = \"http://a\"\n[client.proxy.connect.http]\nstatic_headers = { Host = \"b\", x = 1 }\n",
    );
    assert!(
        headers.contains("host is the request's own") && headers.contains("expected a text"),
        "{headers}"
    );
}

#[test]
fn a_name_that_nobody_has_or_two_have_is_refused_and_one_bad_backend_is_wrong_once() {
    let namespace = |name: &str, proxy: &str| {
        format!(
            "[[channel.namespaces]]\nname = \"{name}\"\npublish_proxy_enabled = true\npublish_proxy_name = \"{proxy}\"\n"
        )
    };
    let said = refusal(&namespace("a", "x"));
    assert!(
        said.contains(":4: 'publish_proxy_name'") && said.contains("\"x\" is not the name of one"),
        "{said}"
    );
    let both = [namespace("a", "default"), namespace("b", "default")].concat();
    let said = refusal(&both);
    assert_eq!(said.matches("is missing").count(), 1, "{said}");
    let twice = "[[proxies]]\nname = \"a\"\n[[proxies]]\nname = \"a\"\n[[proxies]]\nname = \"publish\"\n";
    assert_eq!(refusal(twice).matches("is already the name").count(), 2);
}

#[test]
fn secrets_of_requests_are_not_printed_and_a_place_has_no_password() {
    let checked = checked(
        "[client.proxy.connect]\nenabled = true\nendpoint = \"http://me:word@a:1/b?key=word\"\n\
         http.static_headers = { X-Key = \"word\" }\n",
    );
    let shown = format!("{:?}", checked.config.client.proxy.connect.http);
    assert!(shown.contains("x-key") && !shown.contains("word"), "{shown}");
    let places: Vec<String> = checked.proxies.all().map(crate::proxy::Endpoint::place).collect();
    assert_eq!(places, ["http://a:1/b"]);
}
