//! Sessions whose connect, channels, publications, calls and times a backend decides on: what is asked, and what its word, its refusal
//! and its silence do.

use wire::{
    backend::{Given, Outcome, Refusal},
    code,
    settings::Backend,
    token::{Claims, Sub},
};

use super::{identity::request_of, *};
use crate::upgrade::Origin;

fn given(user: &str, expire_at: u64) -> Given {
    let claims = Claims { user: user.to_owned(), expire_at, ..Claims::default() };
    Given { claims, data: b"{\"hello\":1}".to_vec() }
}

fn sub(channel: &str, expire_at: u64) -> Outcome {
    let subs = vec![Sub { channel: channel.to_owned(), ..Sub::default() }];
    Outcome::Granted(Box::new(Given {
        claims: Claims { expire_at, subs, ..Claims::default() },
        ..Given::default()
    }))
}

fn refusal(code: u32, temporary: bool) -> Outcome {
    Outcome::Refused(Refusal { code, message: "no".to_owned(), temporary })
}

impl World {
    /// A world in which a backend decides on everything.
    fn proxied(rules: Rules) -> Self {
        let mut world = Self::with(rules);
        // Clocks are first read by a turn.
        world.pass(0);
        world.change(|settings| {
            settings.backend = Backend {
                connect: true,
                headers: vec!["cookie".to_owned(), "x-key".to_owned()],
                refresh: true,
                calls: true,
                meta: true,
                channels: false,
            };
            let chat = &mut settings.namespaces[0];
            (chat.subscribe_proxy, chat.publish_proxy, chat.sub_refresh_proxy) = (true, true, true);
        });
        world
    }

    /// The one question for a backend that was asked since.
    fn proxy_asked(&mut self) -> String {
        let mut asked: Vec<String> =
            self.asked().into_iter().filter(|text| text.starts_with("Proxy {")).collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }

    /// The next one, however long it takes.
    fn until_asked(&mut self, index: usize) -> String {
        for _ in 0..100 {
            assert_eq!(self.wait(index, 1), [""; 0]);
            let asked = self.asked();
            if let Some(asked) = asked.into_iter().find(|text| text.starts_with("Proxy {")) {
                return asked;
            }
        }
        panic!("no backend was asked");
    }

    fn decide(&mut self, asked: &str, outcome: Outcome) {
        self.hear(&ToShard::Proxied { request: request_of(asked), outcome });
    }

    /// Connected as "ann", whose time is over then (0: never).
    fn ann(&mut self, expire_at: u64) -> usize {
        let index = self.open();
        self.say(index, r#"{"id":1,"connect":{}}"#);
        let asked = self.proxy_asked();
        self.decide(&asked, Outcome::Granted(Box::new(given("ann", expire_at))));
        assert!(self.heard(index).join("").contains(r#""connect":{"client""#));
        index
    }

    /// The same in "chat:1", whose time is over then.
    fn ann_in_chat(&mut self, expire_at: u64) -> usize {
        let index = self.ann(0);
        self.say(index, r#"{"id":2,"subscribe":{"channel":"chat:1"}}"#);
        let asked = self.proxy_asked();
        self.decide(&asked, sub("chat:1", expire_at));
        let asked = self.asked();
        self.hear(&begun(subscribe_request(&asked[0]).unwrap(), 5, "e"));
        let said = self.heard(index).join("");
        assert!(said.contains(r#""subscribe":{"#) && !said.contains("expires"), "{said}");
        self.asked();
        index
    }
}

#[test]
fn a_connection_without_a_token_is_the_backends_to_admit_with_fields_of_its_request() {
    let mut world = World::proxied(Rules::default());
    let index = world.socket();
    let lines = "Cookie: sid=7\r\nX-Other: 1\r\nx-KEY: k\r\n";
    world.write(index, &upgrade("/connection/websocket", lines));
    world.sent(index);
    let connect = r#"{"id":1,"connect":{"data":{"a":1},"name":"js","version":"5"}}"#;
    world.say(index, &format!("{connect}\n{{\"id\":2,\"rpc\":{{\"method\":\"m\"}}}}"));
    let asked = world.proxy_asked();
    let headers = format!("headers: {:?}", b"cookie: sid=7\r\nx-key: k\r\n");
    assert!(asked.contains(&headers) && asked.contains(r#"name: "js", version: "5""#), "{asked}");
    let client = asked.split("client: ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(world.heard(index), [""; 0], "what is behind it waits");
    let mut grant = given("ann", 0);
    grant.claims.meta = b"{\"plan\":1}".to_vec();
    world.decide(&asked, Outcome::Granted(Box::new(grant)));
    let said = world.heard(index).join("");
    assert!(said.contains(&format!(r#""client":"{client}""#)), "{said}");
    assert!(said.contains(r#""data":{"hello":1}"#) && !said.contains("expires"), "{said}");
    let asked = world.proxy_asked();
    assert!(asked.contains(r#"user: "ann""#) && asked.contains(r#"method: "m""#), "{asked}");
    assert!(asked.contains(&format!("meta: {:?}", b"{\"plan\":1}")), "{asked}");
    assert!(world.shard.connections[index].hot.as_ref().is_none_or(|hot| hot.headers.is_empty()));
}

#[test]
fn channels_that_the_backend_names_are_in_the_reply_to_connect() {
    let mut world = World::proxied(Rules::default());
    let index = world.open();
    world.say(index, r#"{"id":1,"connect":{}}"#);
    let asked = world.proxy_asked();
    let mut grant = given("ann", 0);
    grant.claims.subs = vec![Sub { channel: "chat:1".to_owned(), ..Sub::default() }];
    world.decide(&asked, Outcome::Granted(Box::new(grant)));
    let asked = world.asked();
    world.hear(&begun(subscribe_request(&asked[0]).unwrap(), 5, "e"));
    let said = world.heard(index).join("");
    assert!(said.contains(r#""data":{"hello":1},"subs":{"chat:1":{"#), "{said}");
}

#[test]
fn a_connect_that_the_backend_refuses_has_its_error_and_one_it_does_not_answer_a_temporary_one() {
    let silence = |request| ToShard::Failed { request, code: 100 };
    let cases: [(Option<Outcome>, &str); 5] = [
        (Some(refusal(1000, false)), r#"{"id":1,"error":{"code":1000,"message":"no"}}"#),
        (Some(refusal(1000, true)), r#"{"id":1,"error":{"code":1000,"message":"no","temporary":true}}"#),
        (Some(Outcome::Disconnect { code: 4501, reason: "gone".to_owned() }), "close 4501"),
        (Some(Outcome::Nothing), r#""connect":{"client""#),
        (None, r#""temporary":true"#),
    ];
    for (outcome, expected) in cases {
        let mut world = World::proxied(Rules::default());
        let index = world.open();
        world.say(index, r#"{"id":1,"connect":{}}"#);
        let asked = world.proxy_asked();
        match outcome {
            Some(outcome) => world.decide(&asked, outcome),
            None => world.hear(&silence(request_of(&asked))),
        }
        let said = world.heard(index).join("");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_client_that_goes_while_the_backend_thinks_is_nobody_elses_business() {
    let mut world = World::proxied(Rules::default());
    let index = world.open();
    world.say(index, r#"{"id":1,"connect":{}}"#);
    let asked = world.proxy_asked();
    world.shard.ended(index);
    let other = world.open();
    assert_eq!(other, index, "at the same place");
    world.decide(&asked, Outcome::Granted(Box::new(given("ann", 0))));
    assert_eq!(world.heard(other), [""; 0]);
    world.say(other, r#"{"id":1,"connect":{}}"#);
    let asked = world.proxy_asked();
    world.shard.close(world.now, other, code::SHUTDOWN);
    world.decide(&asked, Outcome::Granted(Box::new(given("ann", 0))));
    assert_eq!(world.heard(other), ["close 3001"]);
    let third = world.open();
    world.say(third, r#"{"id":1,"connect":{}}"#);
    world.shard.link_down(world.now);
    assert!(world.heard(third)[0].contains(r#""code":100"#));
}

#[test]
fn a_subscription_is_the_backends_to_grant_and_costs_nothing_unless_it_is_particular() {
    let mut world = World::proxied(Rules::default());
    let index = world.ann_in_chat(0);
    assert!(world.shard.connections[index].places.all_terms().is_empty());
    world.say(index, r#"{"id":3,"subscribe":{"channel":"chat:2","data":[1]}}"#);
    let asked = world.proxy_asked();
    assert!(asked.contains(&format!("Subscribe {{ channel: \"chat:2\", data: {:?} }}", b"[1]")), "{asked}");
    world.decide(&asked, refusal(403, false));
    assert_eq!(world.heard(index), [r#"{"id":3,"error":{"code":403,"message":"no"}}"#]);
    world.say(index, r#"{"id":4,"subscribe":{"channel":"chat:2"}}"#);
    let asked = world.proxy_asked();
    world.hear(&ToShard::Failed { request: request_of(&asked), code: 111 });
    assert!(world.heard(index)[0].contains(r#""code":111"#));
    world.say(
        index,
        "{\"id\":5,\"subscribe\":{\"channel\":\"news\"}}\n{\"id\":6,\"subscribe\":{\"channel\":\"$chat:2\"}}",
    );
    let asked = world.asked();
    assert!(asked.len() == 1 && asked[0].starts_with("Subscribe"), "no backend is asked: {asked:?}");
    assert!(world.heard(index).join("").contains(r#""id":6,"error":{"code":103"#));
}

#[test]
fn publications_wait_for_the_backend_one_after_the_other() {
    let mut world = World::proxied(Rules::default());
    let index = world.ann_in_chat(0);
    let publish = |id: u32| format!(r#"{{"id":{id},"publish":{{"channel":"chat:1","data":{{"n":{id}}}}}}}"#);
    world.say(index, &[publish(3), publish(4), publish(5)].join("\n"));
    let asked = world.proxy_asked();
    assert!(asked.contains("Publish { channel: \"chat:1\""), "{asked}");
    world.hear(&ToShard::Published { request: request_of(&asked), offset: 6, epoch: "e", duplicate: false });
    assert_eq!(world.heard(index), [r#"{"id":3,"publish":{}}"#]);
    let asked = world.proxy_asked();
    world.decide(&asked, refusal(400, false));
    assert_eq!(world.heard(index), [r#"{"id":4,"error":{"code":400,"message":"no"}}"#]);
    let asked = world.proxy_asked();
    world.decide(&asked, Outcome::Disconnect { code: 4000, reason: "spam".to_owned() });
    assert_eq!(world.heard(index), ["close 4000"]);
}

#[test]
fn calls_go_to_the_backend_side_by_side_and_publish_stays_ours() {
    let mut world = World::proxied(Rules::default());
    let index = world.ann(0);
    world.say(index, r#"{"id":3,"rpc":{"method":"slow"}}"#);
    let slow = world.proxy_asked();
    world.say(index, r#"{"id":4,"rpc":{"method":"quick"}}"#);
    let quick = world.proxy_asked();
    world.decide(&quick, Outcome::Returned(b"[2]".to_vec()));
    world.decide(&slow, Outcome::Returned(b"[1]".to_vec()));
    assert_eq!(world.heard(index), [r#"{"id":4,"rpc":{"data":[2]}}"#, r#"{"id":3,"rpc":{"data":[1]}}"#]);
    let call =
        r#"{"id":5,"rpc":{"method":"publish","data":{"channel":"chat:1","data":1,"idempotency_key":"k"}}}"#;
    world.say(index, call);
    let asked = world.proxy_asked();
    assert!(asked.contains("Publish {") && asked.contains("key: \"k\""), "{asked}");
    world.hear(&ToShard::Published { request: request_of(&asked), offset: 6, epoch: "e", duplicate: false });
    assert!(world.heard(index)[0].contains(r#""rpc":{"data":{"offset":6"#));
    for id in 10..=PROXIED_MAX + 10 {
        world.say(index, &format!(r#"{{"id":{id},"rpc":{{"method":"m"}}}}"#));
    }
    assert_eq!(world.asked().len(), PROXIED_MAX, "bounded for each connection");
    assert!(world.heard(index)[0].contains(r#""code":111"#));
}

const PROXIED_MAX: usize = crate::limits::PROXIED_PER_CONNECTION_MAX;

#[test]
fn a_session_whose_time_is_over_goes_on_if_the_backend_says_so() {
    let mut world = World::proxied(Rules::default());
    let index = world.ann(1_000_010);
    assert_eq!(world.wait(index, 9), [""; 0]);
    assert_eq!(world.asked(), [""; 0]);
    world.wait(index, 3);
    let asked = world.proxy_asked();
    assert!(asked.contains("act: Refresh"), "{asked}");
    world.decide(&asked, Outcome::Granted(Box::new(given("ann", 1_000_030))));
    assert_eq!(world.wait(index, 17), [""; 0]);
    assert_eq!(world.asked(), [""; 0]);
    world.wait(index, 3);
    let asked = world.proxy_asked();
    world.hear(&ToShard::Failed { request: request_of(&asked), code: 100 });
    assert_eq!(world.wait(index, 58), [""; 0], "silence gives a minute");
    assert_eq!(world.asked(), [""; 0]);
    let asked = world.until_asked(index);
    world.decide(&asked, Outcome::Expired);
    assert_eq!(world.heard(index), ["close 3005"]);
}

#[test]
fn without_a_link_a_session_whose_time_is_over_is_asked_about_later() {
    let mut world = World::proxied(Rules::default());
    let index = world.ann(1_000_010);
    world.shard.link_down(world.now);
    assert_eq!(world.wait(index, 40), [""; 0]);
    world.shard.link_up();
    let asked = world.until_asked(index);
    world.decide(&asked, Outcome::Disconnect { code: 4100, reason: "bye".to_owned() });
    assert_eq!(world.heard(index), ["close 4100"]);
}

#[test]
fn a_subscription_whose_time_is_over_goes_on_or_ends() {
    let mut world = World::proxied(Rules::default());
    let index = world.ann_in_chat(1_000_010);
    world.wait(index, 12);
    let asked = world.proxy_asked();
    assert!(asked.contains("SubRefresh { channel: \"chat:1\" }"), "{asked}");
    let mut grant = given("", 1_000_030);
    grant.claims.info = b"{\"role\":2}".to_vec();
    world.decide(&asked, Outcome::Granted(Box::new(grant)));
    let entered = world.asked().join("");
    assert!(entered.starts_with("Enter") && entered.contains(&format!("{:?}", b"{\"role\":2}")), "{entered}");
    world.wait(index, 20);
    let asked = world.proxy_asked();
    world.decide(&asked, Outcome::Expired);
    assert!(world.heard(index)[0].contains(r#""unsubscribe":{"code":2501"#));
}

#[test]
fn streams_and_listeners_are_admitted_by_the_backend_too() {
    let mut rules =
        Rules { origins: vec![Origin::parse("https://app.example.com").unwrap()], ..Rules::default() };
    rules.transports = crate::http::Transports::everywhere(10_000);
    let mut world = World::proxied(rules);
    let index = world.socket();
    let body = r#"{"id":1,"connect":{}}"#;
    let length = body.len();
    world.write(
        index,
        &format!(
            "POST /connection/http_stream HTTP/1.1\r\nHost: a\r\nCookie: s=1\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    );
    let asked = world.proxy_asked();
    assert!(asked.contains("transport: HttpStream"), "{asked}");
    assert!(asked.contains(&format!("headers: {:?}", b"cookie: s=1\r\n")), "{asked}");
    world.decide(&asked, Outcome::Granted(Box::new(given("ann", 0))));
    assert!(String::from_utf8_lossy(&world.sent(index)).contains(r#""connect":{"client""#));
    let listener = world.open_at("/connection/uni_websocket");
    world.say(listener, r#"{"data":{"k":1},"subs":{"chat:1":{}}}"#);
    let asked = world.proxy_asked();
    assert!(asked.contains("UniWebSocket") && asked.contains(r#"channels: ["chat:1"]"#), "{asked}");
    world.decide(&asked, refusal(1000, false));
    assert_eq!(world.heard(listener).last().map(String::as_str), Some("close 3004"));
}
