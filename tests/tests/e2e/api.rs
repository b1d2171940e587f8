//! The server API: unmodified PyPI `cent` and plain requests on one side, unmodified clients by every transport on the other.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tests::bus;
use tests::client::{self, Client, Stream};
use tests::metrics::{self, Answered};
use tests::redis::{Cluster, Server};
use tests::script::{self, Script};
use tests::wait;
use tests::world::{Builder, World};

use crate::mesh;

/// The key that worlds of this file have.
const KEY: &str = "a key of backends";

fn builder() -> Builder {
    with_key(World::builder())
}

fn with_key(builder: Builder) -> Builder {
    builder.relay(&format!("[http_api]\nkey = \"{KEY}\"\n"))
}

/// Where `cent` sends its requests.
fn api(world: &World) -> String {
    format!("http://{}/api", world.http)
}

/// A request to the API with its key.
fn post(world: &World, path: &str, body: &str) -> Answered {
    metrics::post(world.http, path, &[("X-API-Key", KEY)], body).unwrap()
}

/// A method's answer.
fn ask(world: &World, method: &str, arguments: &Value) -> Value {
    let answered = post(world, &format!("/api/{method}"), &arguments.to_string());
    assert_eq!(answered.status, 200, "{answered:?}");
    serde_json::from_str(&answered.body).unwrap()
}

fn done(world: &World, method: &str, arguments: &Value) {
    assert_eq!(ask(world, method, arguments), json!({ "result": {} }), "{method} {arguments}");
}

mod cent {
    use super::*;

    macro_rules! scenarios {
        ($($name:ident)*) => {$(
            #[test]
            fn $name() {
                let world = builder().start().unwrap();
                for kind in ["sync", "async"] {
                    run(&world, stringify!($name), kind);
                    // Each of the two begins with channels that nobody has published to.
                    for channel in ["chat:api", "short:batch"] {
                        ask(&world, "history_remove", &json!({ "channel": channel }));
                    }
                }
            }
        )*};
    }

    fn run(world: &World, scenario: &str, kind: &str) {
        script::run(world, "api.py", &format!("{scenario} {kind}"), &api(world)).unwrap();
    }

    /// One world for each of the two clients: positions are the streams'.
    macro_rules! afresh {
        ($($name:ident)*) => {$(
            #[test]
            fn $name() {
                for kind in ["sync", "async"] {
                    let world = builder().start().unwrap();
                    run(&world, stringify!($name), kind);
                }
            }
        )*};
    }

    afresh! { publishes batches }
    scenarios! { is_refused_without_the_key }

    #[test]
    fn asks_what_there_is() {
        let world = builder().start().unwrap();
        let mut tabs = ["ann", "ann", "bob"].map(|user| Client::of(&world, user).unwrap());
        for tab in &mut tabs {
            tab.subscribe("chat:who").unwrap();
        }
        tabs[0].subscribe("chat:other").unwrap();
        for kind in ["sync", "async"] {
            run(&world, "asks_what_there_is", kind);
        }
    }

    #[test]
    fn commands() {
        for kind in ["sync", "async"] {
            let world = builder().relay("[client]\nexpired_close_delay = \"0s\"\n").start().unwrap();
            let mut ann = Client::of(&world, "ann").unwrap();
            let mut script =
                Script::start(&world, "api.py", &format!("commands {kind}"), &api(&world)).unwrap();
            let mut tell = |method: &str, fields: &Value| {
                script.say(&format!("{method} {fields}")).unwrap();
                script.hear("done").unwrap();
            };
            tell("subscribe", &json!({ "user": "ann", "channel": "chat:x", "data": { "d": 1 } }));
            let push = ann.push().unwrap();
            assert_eq!(
                (&push["channel"], &push["subscribe"]["data"]),
                (&json!("chat:x"), &json!({ "d": 1 }))
            );
            tell("unsubscribe", &json!({ "user": "ann", "channel": "chat:x" }));
            assert_eq!(ann.push_of("unsubscribe").unwrap()["code"], json!(2000));
            tell("refresh", &json!({ "user": "ann", "expire_at": world.unix() + 3600 }));
            tell("disconnect", &json!({ "user": "ann", "disconnect": { "code": 4001, "reason": "go" } }));
            assert_eq!(ann.closed().unwrap().code, 4001);
            let mut bob = Client::of(&world, "bob").unwrap();
            tell("refresh", &json!({ "user": "bob", "expired": true }));
            assert_eq!(bob.closed().unwrap().code, 3005);
            script.say("end").unwrap();
            script.end().unwrap();
        }
    }
}

/// By every transport that the SDK has, in both of its builds.
mod npm {
    use super::*;

    fn everywhere(builder: impl Fn() -> Builder, play: impl Fn(&World, &str, &str)) {
        let world = builder().start().unwrap();
        for (url, protobuf) in [
            (world.wss(), ""),
            (world.wss(), " protobuf"),
            (world.ws().replace("ws:", "http:").replace("websocket", "http_stream"), ""),
            (world.ws().replace("ws:", "http:").replace("websocket", "http_stream"), " protobuf"),
            (world.ws().replace("ws:", "http:").replace("websocket", "sse"), ""),
        ] {
            play(&world, &url, protobuf);
        }
    }

    fn emulating() -> Builder {
        builder().gateway("[http_stream]\nenabled = true\n[sse]\nenabled = true\n")
    }

    #[test]
    fn obeys() {
        everywhere(emulating, |world, url, protobuf| {
            done(world, "history_remove", &json!({ "channel": "chat:server" }));
            let mut script = Script::start(world, "api.mjs", &format!("obeys{protobuf}"), url).unwrap();
            script.hear("connected").unwrap();
            let top = ask(world, "publish", &json!({ "channel": "chat:server", "data": { "n": 1 } }));
            let _ = top["result"]["offset"].as_u64().unwrap();
            done(
                world,
                "subscribe",
                &json!({ "user": "ann", "channel": "chat:server", "data": { "welcome": "ann" } }),
            );
            script.hear("subscribed").unwrap();
            ask(world, "publish", &json!({ "channel": "chat:server", "data": { "n": 2 } }));
            script.hear("published").unwrap();
            done(world, "unsubscribe", &json!({ "user": "ann", "channel": "chat:server" }));
            script.hear("unsubscribed").unwrap();
            done(world, "unsubscribe", &json!({ "user": "ann", "channel": "" }));
            script.hear("left").unwrap();
            let disconnect = json!({ "code": 4501, "reason": "no more of you" });
            done(world, "disconnect", &json!({ "user": "ann", "disconnect": disconnect }));
            script.hear("gone").unwrap();
            script.end().unwrap();
        });
    }

    #[test]
    fn comes_back_when_it_is_expired() {
        let quick = || emulating().relay("[client]\nexpired_close_delay = \"0s\"\n");
        everywhere(quick, |world, url, protobuf| {
            let scenario = format!("comes_back_when_it_is_expired{protobuf}");
            let mut script = Script::start(world, "api.mjs", &scenario, url).unwrap();
            script.hear("connected").unwrap();
            done(world, "refresh", &json!({ "user": "ann", "expired": true }));
            script.hear("back").unwrap();
            done(world, "refresh", &json!({ "user": "ann", "expire_at": world.unix() - 1 }));
            script.hear("expired").unwrap();
            script.end().unwrap();
        });
    }

    #[test]
    fn one_of_two_is_meant() {
        everywhere(emulating, |world, url, protobuf| {
            let scenario = format!("one_of_two_is_meant{protobuf}");
            let mut script = Script::start(world, "api.mjs", &scenario, url).unwrap();
            let names = script.listen().unwrap();
            let (ann, tab) = names.split_once(' ').unwrap();
            done(world, "disconnect", &json!({ "user": "ann", "client": tab, "whitelist": [ann] }));
            script.hear("gone").unwrap();
            done(world, "disconnect", &json!({ "user": "ann", "whitelist": [ann] }));
            script.say("end").unwrap();
            script.end().unwrap();
        });
    }
}

#[test]
fn requests_as_backends_write_them_by_hand() {
    let world = builder().start().unwrap();
    // A field of another case, no content type, pretty JSON with unknown members.
    let body = "{\n  \"channel\": \"short:x\",\n  \"data\": {\n    \"a\": 1.0\n  },\n  \"more\": null\n}";
    let good = metrics::post(world.http, "/api/publish", &[("x-api-key", KEY)], body).unwrap();
    assert_eq!(good.status, 200, "{good:?}");
    let answer: Value = serde_json::from_str(&good.body).unwrap();
    assert_eq!(answer["result"]["offset"], json!(1));
    let other = [("Authorization", &*format!("apikey {KEY}"))];
    let page =
        metrics::post(world.http, "/api/history", &other, r#"{"channel":"short:x","limit":1}"#).unwrap();
    assert!(page.body.contains("\"a\": 1.0"), "data stays as it was written: {}", page.body);
    // The old form: a method and its parameters, one or several.
    let old = "{\"method\":\"publish\",\"params\":{\"channel\":\"short:x\",\"data\":2}}\n\
               {\"id\":7,\"method\":\"nothing\"}";
    let answered = post(&world, "/api", old);
    let lines: Vec<Value> = answered.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["result"]["offset"]), (2, &json!(2)));
    assert_eq!((&lines[1]["id"], &lines[1]["error"]["code"]), (&json!(7), &json!(104)));
    // A batch tells what each of its commands came to.
    let batch =
        json!({ "commands": [{ "publish": { "channel": "short:x", "data": 3 } }, { "nothing": {} }, {}] });
    let answered = post(&world, "/api/batch", &batch.to_string());
    let replies: Value = serde_json::from_str(&answered.body).unwrap();
    assert_eq!(replies["replies"][0]["publish"]["offset"], json!(3), "{replies}");
    assert_eq!(replies["replies"][2]["error"]["code"], json!(104), "{replies}");
}

#[test]
fn what_is_no_request_is_refused_as_http_does_it() {
    let world = builder().start().unwrap();
    for (path, body, status) in [
        ("/api/publish", "{", 400),
        ("/api/publish", "[]", 400),
        ("/api/publish", r#"{"channel":1}"#, 400),
        ("/api/rpc", "{}", 404),
        ("/api/nothing", "{}", 404),
        ("/api", "publish", 400),
        ("/api", "", 400),
    ] {
        assert_eq!(post(&world, path, body).status, status, "{path} {body}");
    }
    assert_eq!(metrics::get(world.http, "/api/publish").unwrap().0, 405);
    let large = format!(r#"{{"channel":"news","data":"{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(post(&world, "/api/publish", &large).status, 413);
    for fields in [&[][..], &[("X-API-Key", "guess")], &[("Authorization", "apikey guess")]] {
        assert_eq!(metrics::post(world.http, "/api/info", fields, "{}").unwrap().status, 401, "{fields:?}");
    }
    assert_eq!(world.metrics().unwrap().sum("headland_relay_api_refused_total", &["cause=\"key\""]), 3.0);
}

#[test]
fn without_a_key_there_is_no_api_and_keys_change_without_a_restart() {
    let world = World::start().unwrap();
    let off = post(&world, "/api/info", "{}");
    assert_eq!(off.status, 404, "{off:?}");
    assert!(off.body.contains("http_api.key"), "{off:?}");
    assert!(world.relay.log().contains("the server API is off"), "{}", world.relay.log());
    world.reload_relay(&format!("[http_api]\nkey = \"next\"\nmore_keys = [\"{KEY}\"]\n")).unwrap();
    let answered = wait::until("the key to be known", Duration::from_secs(60), || {
        Some(post(&world, "/api/info", "{}")).filter(|answered| answered.status == 200)
    });
    assert!(answered.unwrap().body.contains("\"nodes\""));
}

#[test]
fn errors_can_be_statuses() {
    let world = builder().relay("[http_api]\nerror_mode = \"transport\"\n").start().unwrap();
    for (method, body, status) in [
        ("publish", r#"{"channel":"nowhere:x","data":1}"#, 404),
        ("publish", r#"{"channel":"news"}"#, 400),
        ("publish", r#"{"channel":"news","data":1,"version":1}"#, 400),
        ("history", r#"{"channel":"short:x","since":{"offset":9,"epoch":"AAAAAAAA"},"limit":1}"#, 416),
        ("publish", r#"{"channel":"news","data":1}"#, 200),
    ] {
        let answered = post(&world, &format!("/api/{method}"), body);
        assert_eq!(answered.status, status, "{method} {body}: {}", answered.body);
        assert_eq!(answered.body.contains("\"error\""), status != 200, "{}", answered.body);
    }
    let counted = |result: &str| {
        let labels = ["method=\"publish\"", &*format!("result=\"{result}\"")];
        world.metrics().unwrap().sum("headland_relay_api_requests_total", &labels)
    };
    assert_eq!(["ok", "102", "107", "108"].map(counted), [1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn those_who_only_listen_or_poll_are_commanded_too() {
    let world = builder()
        .relay("[client]\nallow_anonymous_connect_without_token = true\n")
        .gateway("[uni_websocket]\nenabled = true\n")
        .start()
        .unwrap();
    let url = world.ws().replace("connection/websocket", "connection/uni_websocket");
    let stream = Stream::open(&world, world.plain, None).unwrap();
    let mut listener = Client::over(stream, &url, &[]).unwrap();
    let token = world.token("ann").unwrap();
    listener.text(&json!({ "token": token }).to_string()).unwrap();
    listener.text_with("\"connect\"").unwrap();
    done(&world, "subscribe", &json!({ "user": "ann", "channel": "chat:uni" }));
    listener.text_with("\"subscribe\"").unwrap();
    ask(&world, "publish", &json!({ "channel": "chat:uni", "data": { "n": 1 } }));
    listener.text_with("\"pub\"").unwrap();
    done(&world, "refresh", &json!({ "user": "ann", "expire_at": world.unix() + 60 }));
    listener.text_with("\"refresh\"").unwrap();
    done(&world, "unsubscribe", &json!({ "user": "ann", "channel": "chat:uni" }));
    listener.text_with("\"unsubscribe\"").unwrap();
    done(&world, "disconnect", &json!({ "user": "ann" }));
    assert_eq!(listener.closed().unwrap().code, 3503);
}

#[test]
fn a_subscription_of_the_servers_recovers_and_expires() {
    let world = builder().relay("[client]\nexpired_sub_close_delay = \"0s\"\n").start().unwrap();
    for n in 1..=3 {
        ask(&world, "publish", &json!({ "channel": "chat:r", "data": n }));
    }
    let mut ann = Client::of(&world, "ann").unwrap();
    let since = json!({ "offset": 1 });
    done(&world, "subscribe", &json!({ "user": "ann", "channel": "chat:r", "recover_since": since }));
    assert_eq!(ann.push_of("subscribe").unwrap()["offset"], json!(1));
    let offsets: Vec<Value> = (0..2).map(|_| ann.push_of("pub").unwrap()["offset"].clone()).collect();
    assert_eq!(offsets, [json!(2), json!(3)]);
    let expiring = json!({ "user": "ann", "channel": "chat:e", "expire_at": world.unix() + 1 });
    done(&world, "subscribe", &expiring);
    assert_eq!(ann.closed().unwrap().code, 3006);
}

#[test]
fn one_edge_of_a_mesh_answers_for_all() {
    one_edge_answers_for_all(mesh::edges_with(3, with_key));
}

#[test]
fn one_edge_answers_for_all_that_share_redis() {
    let server = Server::start().unwrap();
    let bus = bus::star(&server.address());
    one_edge_answers_for_all((0..2).map(|_| builder().relay(&bus).start().unwrap()).collect());
}

#[test]
fn one_edge_answers_for_all_that_share_a_cluster() {
    let cluster = Cluster::start().unwrap();
    let bus = bus::cluster(&cluster.addresses()[..3]);
    one_edge_answers_for_all((0..2).map(|_| builder().relay(&bus).start().unwrap()).collect());
}

/// Asks until there is no temporary error any more; the result.
fn settled(world: &World, method: &str, arguments: &Value) -> Value {
    let result = wait::until(&format!("{method} {arguments}"), client::WITHIN, || {
        let mut answer = ask(world, method, arguments);
        assert!(answer["error"].is_null() || answer["error"]["code"] == json!(100), "{answer}");
        answer["error"].is_null().then(|| answer["result"].take())
    });
    result.unwrap()
}

fn nodes(world: &World, count: usize) -> Vec<Value> {
    let nodes = wait::until("everybody to be known", client::WITHIN, || {
        let nodes = ask(world, "info", &json!({}))["result"]["nodes"].as_array().unwrap().clone();
        (nodes.len() == count).then_some(nodes)
    });
    nodes.unwrap()
}

fn one_edge_answers_for_all(mut worlds: Vec<World>) {
    let count = worlds.len();
    let last = count - 1;
    let clients =
        |nodes: &[Value]| nodes.iter().map(|node| node["num_clients"].as_u64().unwrap()).sum::<u64>();
    let mut tabs: Vec<Client> = worlds.iter().map(|world| Client::of(world, "ann").unwrap()).collect();
    let mut bob = Client::of(&worlds[last], "bob").unwrap();
    for world in &worlds {
        assert_eq!(clients(&nodes(world, count)), count as u64 + 1);
    }
    // Until the bus is as it should be, who cannot have something is told.
    settled(&worlds[0], "subscribe", &json!({ "user": "ann", "channel": "chat:all" }));
    for (number, world) in (1..).zip(&worlds) {
        let said = json!({ "channel": "chat:all", "data": number, "idempotency_key": number.to_string() });
        assert_eq!(settled(world, "publish", &said)["offset"], json!(number));
        for tab in &mut tabs {
            assert_eq!(tab.push_of("pub").unwrap()["offset"], json!(number));
        }
        let unkept = json!({ "channel": "chat:all", "data": "now", "skip_history": true });
        assert_eq!(settled(world, "publish", &unkept), json!({}));
        for tab in &mut tabs {
            assert_eq!(tab.push_of("pub").unwrap(), json!({ "data": "now" }));
        }
        let channels = settled(world, "channels", &json!({}));
        assert_eq!(channels, json!({ "channels": { "chat:all": { "num_clients": count } } }));
        let stats = settled(world, "presence_stats", &json!({ "channel": "chat:all" }));
        assert_eq!(stats, json!({ "num_clients": count, "num_users": 1 }));
        let page = settled(world, "history", &json!({ "channel": "chat:all", "limit": 10 }));
        assert_eq!(page["publications"].as_array().unwrap().len() as u64, number, "{page}");
    }
    settled(&worlds[last], "history_remove", &json!({ "channel": "chat:all" }));
    let empty = settled(&worlds[0], "history", &json!({ "channel": "chat:all", "limit": 10 }));
    assert_eq!((&empty["offset"], &empty["publications"]), (&json!(count), &json!([])));
    settled(&worlds[last], "unsubscribe", &json!({ "user": "ann", "channel": "chat:all" }));
    for tab in &mut tabs {
        assert_eq!(tab.push_of("unsubscribe").unwrap()["code"], json!(2000));
    }
    let go = json!({ "code": 4500, "reason": "all" });
    settled(&worlds[0], "disconnect", &json!({ "user": "ann", "disconnect": go }));
    for tab in &mut tabs {
        assert_eq!(tab.closed().unwrap().code, 4500);
    }
    // An edge that is gone is not waited for once the bus knows.
    drop(worlds.remove(0));
    nodes(&worlds[last - 1], count - 1);
    settled(&worlds[last - 1], "disconnect", &json!({ "user": "bob" }));
    assert_eq!(bob.closed().unwrap().code, 3503);
}

#[test]
fn commands_of_a_stream_reach_its_edge_from_another() {
    let worlds = mesh::edges_with(2, |builder| builder.gateway("[http_stream]\nenabled = true\n"));
    let connect = json!({ "id": 1, "connect": { "token": worlds[0].token("ann").unwrap() } }).to_string();
    let mut stream = Open::post(worlds[0].plain, "/connection/http_stream", &connect).unwrap();
    let connected = stream.line_with("\"connect\"").unwrap();
    let reply: Value = serde_json::from_str(&connected).unwrap();
    let named = |commands: Value| {
        json!({
            "session": reply["connect"]["session"],
            "node": reply["connect"]["node"],
            "data": commands.to_string(),
        })
        .to_string()
    };
    let subscribe = named(json!({ "id": 2, "subscribe": { "channel": "news" } }));
    let elsewhere = metrics::post(worlds[1].plain, "/emulation", &[], &subscribe).unwrap();
    assert_eq!(elsewhere.status, 204, "{elsewhere:?}");
    stream.line_with("\"id\":2").unwrap();
    let nobody = json!({ "session": "00".repeat(24), "node": "00000000000000000001", "data": "{}" });
    let unknown = metrics::post(worlds[1].plain, "/emulation", &[], &nobody.to_string()).unwrap();
    assert_eq!(unknown.status, 404, "{unknown:?}");
}

/// A response that goes on.
struct Open(BufReader<TcpStream>);

impl Open {
    fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(client::WITHIN))?;
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The next line that has a text in it.
    fn line_with(&mut self, wanted: &str) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.contains(wanted) {
                return Ok(line);
            }
        }
    }
}
