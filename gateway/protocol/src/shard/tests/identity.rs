//! Who a session is and what its tokens give it: channels of the server's, subscription tokens, expiry and refresh.

use wire::token::{Claims, Sub};

use super::*;

/// A token that the relay has to verify: {"alg":"HS256"}.{}.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";

fn user(channels: &[&str]) -> Claims {
    let sub = |channel: &&str| Sub { channel: (*channel).to_owned(), ..Sub::default() };
    Claims { user: "42".to_owned(), subs: channels.iter().map(sub).collect(), ..Claims::default() }
}

pub(super) fn request_of(text: &str) -> u32 {
    number_after(text, "request: ").unwrap()
}

impl World {
    /// A connection whose token says this; what is asked then.
    pub(super) fn connect(&mut self, connect: &str, claims: Claims) -> (usize, Vec<String>) {
        let index = self.open();
        self.say(index, &format!(r#"{{"id":1,"connect":{{"token":"{TOKEN}"{connect}}}}}"#));
        self.verify(claims);
        (index, self.asked())
    }

    /// The relay finds the last token genuine.
    fn verify(&mut self, claims: Claims) {
        let asked = self.asked();
        let request = request_of(asked.iter().find(|text| text.starts_with("Verify")).unwrap());
        self.hear(&ToShard::Verified { request, claims });
    }

    fn stands_at(&mut self, asked: &str, offset: u64) {
        let request = subscribe_request(asked).unwrap();
        self.hear(&begun(request, offset, "e"));
    }

    /// A session with one of the server's channels, "chat:1" at offset 5.
    pub(super) fn server_side(&mut self, claims: Claims) -> usize {
        let (index, asked) = self.connect("", claims);
        self.stands_at(&asked[0], 5);
        self.heard(index);
        self.asked();
        index
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut policy = policy();
        change(&mut policy.settings);
        self.shard.apply(Arc::new(policy));
    }

    /// Lets seconds pass, and collects what the client hears but pings, which it answers.
    pub(super) fn wait(&mut self, index: usize, seconds: u64) -> Vec<String> {
        let mut said = Vec::new();
        for _ in 0..seconds * 10 {
            self.pass(100);
            for line in self.heard(index) {
                if line == "{}" {
                    self.say(index, "{}");
                } else {
                    said.push(line);
                }
            }
        }
        said
    }
}

#[test]
fn a_session_begins_with_the_channels_of_its_token_and_what_came_in_them_follows_the_reply() {
    let mut world = World::new();
    let (index, asked) = world.connect("", user(&["chat:1", "chat:2"]));
    assert_eq!(asked.len(), 2, "{asked:?}");
    world.stands_at(&asked[0], 5);
    world.publish("chat:1", 6);
    assert_eq!(world.heard(index), [""; 0], "the reply is first");
    world.stands_at(&asked[1], 0);
    let said = world.heard(index);
    assert!(said[0].contains(
        r#""subs":{"chat:1":{"recoverable":true,"epoch":"e","offset":5,"positioned":true},"chat:2":{"#
    ));
    assert!(said[1].contains(r#""channel":"chat:1","pub":{"data":{},"offset":6}"#), "{said:?}");
    world.publish("chat:1", 7);
    assert_eq!(world.heard(index).len(), 1);
    let entered = world.asked();
    assert!(entered.iter().filter(|text| text.starts_with("Enter")).count() == 2, "{entered:?}");
}

#[test]
fn what_a_client_missed_in_the_servers_channels_is_in_the_reply() {
    let mut world = World::new();
    let subs = r#","subs":{"chat:1":{"recover":true,"epoch":"e","offset":4},"other":{"recover":true}}"#;
    let (index, asked) = world.connect(subs, user(&["chat:1"]));
    assert!(asked[0].contains("recover: Some(Position { offset: 4, epoch: \"e\" })"), "{asked:?}");
    let missed = Publication { offset: 5, data: b"{}", ..Publication::default() };
    let request = subscribe_request(&asked[0]).unwrap();
    let (epoch, publications) = ("e", vec![missed]);
    world.hear(&ToShard::Subscribed { request, offset: 5, epoch, recovered: true, publications });
    let said = world.heard(index).join("");
    assert!(
        said.contains(r#""publications":[{"data":{},"offset":5}],"recovered":true,"offset":4"#),
        "{said}"
    );
}

#[test]
fn channels_that_are_there_already_ask_nothing_and_commands_behind_the_connect_are_run() {
    let mut world = World::new();
    world.subscribed("chat:1");
    let index = world.open();
    let next = r#"{"id":2,"unsubscribe":{"channel":"x"}}"#;
    world.say(index, &format!("{{\"id\":1,\"connect\":{{\"token\":\"{TOKEN}\"}}}}\n{next}"));
    world.verify(user(&["chat:1"]));
    let said = world.heard(index);
    assert!(said[0].contains(r#""subs":{"chat:1""#) && said[1].contains(r#""id":2"#), "{said:?}");
    assert!(world.shard.wants_input(index));
}

#[test]
fn a_channel_that_cannot_be_fails_the_connect_and_leaves_nothing_behind() {
    let mut world = World::new();
    let (index, asked) = world.connect("", user(&["chat:1", "chat:2"]));
    world.stands_at(&asked[0], 5);
    world.hear(&ToShard::Failed { request: subscribe_request(&asked[1]).unwrap(), code: 106 });
    let said = world.heard(index).join("");
    assert!(said.contains(r#""id":1,"error":{"code":106"#) && !said.contains("push"), "{said}");
    let stats = world.shard.stats();
    assert_eq!((stats.subscriptions, stats.channels), (0, 0));
    let (index, _) = world.connect("", user(&["nowhere:1"]));
    assert!(world.heard(index)[0].contains(r#""error":{"code":102"#));
    let many: Vec<String> = (0..129).map(|number| format!("c{number}")).collect();
    let (index, _) = world.connect("", user(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(world.heard(index)[0].contains(r#""error":{"code":106"#));
}

#[test]
fn a_client_that_goes_while_its_channels_open_leaves_nothing_behind() {
    let mut world = World::new();
    let (index, asked) = world.connect("", user(&["chat:1", "chat:2"]));
    world.stands_at(&asked[0], 5);
    world.publish("chat:1", 6);
    world.shard.ended(index);
    world.stands_at(&asked[1], 0);
    let stats = world.shard.stats();
    assert_eq!((stats.subscriptions, stats.channels, stats.backlog_bytes), (0, 0, 0));
}

#[test]
fn the_personal_channel_is_the_users_own() {
    let mut world = World::new();
    world.change(|settings| settings.client.personal_channel = Some("chat".to_owned()));
    let (index, asked) = world.connect("", user(&[]));
    assert!(asked[0].contains(r##"channel: "chat:#42""##), "{asked:?}");
    world.stands_at(&asked[0], 0);
    assert!(world.heard(index)[0].contains(r##""subs":{"chat:#42""##));
    let anonymous = world.open();
    world.say(anonymous, r#"{"id":1,"connect":{}}"#);
    assert!(!world.heard(anonymous)[0].contains("subs"), "nobody has no channel");
}

#[test]
fn a_lost_position_in_a_channel_of_the_servers_ends_the_session() {
    let mut world = World::new();
    let index = world.server_side(user(&["chat:1"]));
    world.publish("chat:1", 9);
    assert_eq!(world.heard(index), ["close 3010"]);
}

#[test]
fn a_refresh_for_other_channels_ends_the_session_and_one_for_the_same_does_not() {
    let mut world = World::new();
    let index = world.server_side(user(&["chat:1"]));
    let refresh = format!(r#"{{"id":2,"refresh":{{"token":"{TOKEN}"}}}}"#);
    world.say(index, &refresh);
    world.verify(Claims { expire_at: 1_000_100, ..user(&["chat:1"]) });
    assert!(world.heard(index)[0].contains(r#""refresh":{"#));
    world.say(index, &refresh);
    world.verify(user(&[]));
    assert_eq!(world.heard(index), ["close 3010"]);
}

#[test]
fn a_pong_that_waits_behind_a_command_for_the_relay_is_not_missed() {
    let mut world = World::new();
    let (index, _) = world.connect("", user(&[]));
    world.heard(index);
    while world.heard(index) != ["{}"] {
        world.pass(100);
    }
    world.pass(7_000);
    world.say(index, &format!(r#"{{"id":2,"refresh":{{"token":"{TOKEN}"}}}}"#));
    world.say(index, "{}");
    for _ in 0..40 {
        world.pass(100);
    }
    assert!(world.heard(index).is_empty(), "its time for a pong has passed");
    world.verify(user(&[]));
    assert!(world.heard(index)[0].contains(r#""refresh":{"#));
    assert_eq!(world.wait(index, 60), [""; 0], "it is pinged again");
}

#[test]
fn a_subscription_token_opens_a_private_channel_for_its_user_and_is_shown_with_what_it_does() {
    let mut world = World::new();
    let (index, _) = world.connect("", user(&[]));
    world.heard(index);
    world.say(index, r#"{"id":2,"subscribe":{"channel":"$chat:1"}}"#);
    assert!(world.heard(index)[0].contains(r#""error":{"code":103"#));
    let subscribe = format!(r#"{{"id":3,"subscribe":{{"channel":"$chat:1","token":"{TOKEN}"}}}}"#);
    let publish = r#"{"id":4,"publish":{"channel":"$chat:1","data":{}}}"#;
    world.say(index, &format!("{subscribe}\n{publish}"));
    let mut claims = user(&["$chat:1"]);
    claims.subs[0].info = br#"{"i":1}"#.to_vec();
    claims.subs[0].data = br#"{"d":1}"#.to_vec();
    claims.expire_at = 1_000_060;
    world.verify(claims);
    let asked = world.asked();
    assert!(asked[0].contains(r#"channel: "$chat:1""#), "{asked:?}");
    assert!(asked[1].starts_with("Publish"), "commands stay in order: {asked:?}");
    world.stands_at(&asked[0], 5);
    let said = world.heard(index).join("");
    assert!(
        said.contains(r#""subscribe":{"expires":true,"ttl":60,"#) && said.contains(r#""data":{"d":1}"#),
        "{said}"
    );
    let entered = world.asked();
    assert!(entered[0].contains(&format!("chan_info: {:?}", br#"{"i":1}"#)), "{entered:?}");
}

#[test]
fn a_subscription_token_of_somebody_else_or_for_something_else_ends_the_connection() {
    for claims in [
        Claims { user: "43".to_owned(), ..user(&["chat:1"]) },
        user(&["chat:2"]),
        Claims { client: "other".to_owned(), ..user(&["chat:1"]) },
    ] {
        let mut world = World::new();
        let (index, _) = world.connect("", user(&[]));
        world.heard(index);
        world.say(index, &format!(r#"{{"id":3,"subscribe":{{"channel":"chat:1","token":"{TOKEN}"}}}}"#));
        world.verify(claims);
        assert_eq!(world.heard(index), ["close 3500"]);
        assert_eq!(world.shard.stats().channels, 0);
    }
}

#[test]
fn a_subscription_token_that_is_refused_is_an_error_that_says_whether_another_would_do() {
    for (code, expected) in [(101, 103), (109, 109), (100, 100)] {
        let mut world = World::new();
        let (index, _) = world.connect("", user(&[]));
        world.heard(index);
        world.say(index, &format!(r#"{{"id":3,"subscribe":{{"channel":"chat:1","token":"{TOKEN}"}}}}"#));
        let request = request_of(&world.asked()[0]);
        world.hear(&ToShard::Failed { request, code });
        assert!(world.heard(index)[0].contains(&format!(r#""id":3,"error":{{"code":{expected}"#)));
        assert!(world.shard.wants_input(index));
    }
}

#[test]
fn an_expired_subscription_ends_after_its_grace_unless_it_is_refreshed() {
    let mut world = World::new();
    let (index, _) = world.connect("", user(&[]));
    world.heard(index);
    for channel in ["chat:1", "chat:2"] {
        world.say(index, &format!(r#"{{"id":3,"subscribe":{{"channel":"{channel}","token":"{TOKEN}"}}}}"#));
        world.verify(Claims { expire_at: 1_000_010, ..user(&[channel]) });
        let asked = world.asked();
        world.stands_at(&asked[0], 5);
    }
    world.heard(index);
    assert_eq!(world.wait(index, 20), [""; 0]);
    world.say(index, &format!(r#"{{"id":4,"sub_refresh":{{"channel":"chat:2","token":"{TOKEN}"}}}}"#));
    world.verify(Claims { expire_at: 1_000_100, ..user(&["chat:2"]) });
    let unix = world.now.unix;
    assert_eq!(
        world.heard(index),
        [format!(r#"{{"id":4,"sub_refresh":{{"expires":true,"ttl":{}}}}}"#, 1_000_100 - unix)]
    );
    let said = world.wait(index, 20);
    assert_eq!(
        said,
        [r#"{"push":{"channel":"chat:1","unsubscribe":{"code":2501,"reason":"subscription expired"}}}"#]
    );
    world.say(index, &format!(r#"{{"id":5,"sub_refresh":{{"channel":"chat:1","token":"{TOKEN}"}}}}"#));
    assert!(world.heard(index)[0].contains(r#""error":{"code":103"#), "not subscribed any more");
}

#[test]
fn a_subscription_of_the_servers_that_expires_ends_its_session_after_its_grace() {
    let mut world = World::new();
    let index = world.server_side(user(&["chat:1"]));
    // A refresh is what gives it a time: connection tokens have none for their channels.
    world.say(index, &format!(r#"{{"id":2,"sub_refresh":{{"channel":"chat:1","token":"{TOKEN}"}}}}"#));
    world.verify(Claims { expire_at: 1_000_010, ..user(&["chat:1"]) });
    assert_eq!(world.heard(index), [r#"{"id":2,"sub_refresh":{"expires":true,"ttl":10}}"#]);
    assert_eq!(world.wait(index, 30), [""; 0]);
    assert_eq!(world.wait(index, 10), ["close 3006"]);
}

#[test]
fn a_sub_refresh_with_an_expired_token_says_so_and_with_a_bad_one_ends_the_connection() {
    let mut world = World::new();
    let index = world.server_side(user(&["chat:1"]));
    let refresh = format!(r#"{{"id":4,"sub_refresh":{{"channel":"chat:1","token":"{TOKEN}"}}}}"#);
    world.say(index, &refresh);
    world.verify(Claims { exp: 5, ..user(&["chat:1"]) });
    assert!(world.heard(index)[0].contains(r#""error":{"code":110"#));
    world.say(index, &refresh);
    world.verify(user(&["chat:2"]));
    assert_eq!(world.heard(index), ["close 3500"]);
}

#[test]
fn a_token_without_a_user_can_be_refused() {
    let mut world = World::new();
    world.change(|settings| settings.client.disallow_anonymous_connection_tokens = true);
    let (index, _) = world.connect("", Claims::default());
    assert_eq!(world.heard(index), ["close 3507"]);
}

#[test]
fn a_key_that_nobody_knows_is_looked_for_and_another_token_asked_for() {
    let mut world = World::new();
    world.change(|settings| settings.tokens.fetched = true);
    // {"alg":"EdDSA","kid":"k"}.{}.
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.e30.c2ln";
    for told in [1, 0] {
        let index = world.open();
        world.say(index, &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#));
        assert!(world.heard(index)[0].contains(r#""error":{"code":109"#));
        let asked = world.asked();
        assert_eq!(asked.iter().filter(|text| text.starts_with("UnknownKey")).count(), told, "{asked:?}");
    }
    world.change(|_| {});
    let index = world.open();
    world.say(index, &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#));
    assert_eq!(world.heard(index), ["close 3500"], "no set is fetched: there will be no other key");
}

#[test]
fn a_session_of_a_user_with_a_limit_begins_when_the_relay_has_counted_it_and_is_counted_again_after_a_lost_link()
 {
    let mut world = World::new();
    world.change(|settings| settings.client.user_connection_limit = 1);
    let (index, asked) = world.connect("", user(&["chat:1"]));
    assert!(asked[0].starts_with("Arrive") && asked[1].starts_with("Subscribe"), "{asked:?}");
    world.stands_at(&asked[1], 5);
    assert_eq!(world.heard(index), [""; 0], "not yet");
    world.hear(&ToShard::Admitted { request: number_after(&asked[0], "Some(").unwrap() });
    assert!(world.heard(index)[0].contains(r#""subs":{"chat:1""#));
    world.shard.link_down(world.now);
    world.shard.link_up();
    while world.shard.restore(world.now) {}
    let asked = world.asked();
    assert!(asked.iter().any(|text| text.starts_with("Arrive { request: None")), "{asked:?}");
    world.shard.ended(index);
    assert!(world.asked().iter().any(|text| text.starts_with("Depart")));
}

#[test]
fn a_session_too_many_is_closed_and_one_that_was_replaced_too() {
    let mut world = World::new();
    world.change(|settings| settings.client.single_connection = true);
    let (refused, asked) = world.connect("", user(&[]));
    world.hear(&ToShard::Failed { request: number_after(&asked[0], "Some(").unwrap(), code: 106 });
    assert_eq!(world.heard(refused), ["close 3504"]);
    world.asked();
    let (index, asked) = world.connect("", user(&[]));
    world.hear(&ToShard::Admitted { request: number_after(&asked[0], "Some(").unwrap() });
    assert_eq!(world.heard(index).len(), 1);
    let session = world.shard.token_at(index).unwrap();
    world.hear(&ToShard::Disconnect { session, code: 3504 });
    assert_eq!(world.heard(index), ["close 3504"]);
    assert!(!world.asked().iter().any(|text| text.starts_with("Depart")), "the relay knows");
}

#[test]
fn a_word_on_one_token_is_never_taken_for_another() {
    let mut world = World::new();
    let (index, _) = world.connect("", user(&[]));
    world.heard(index);
    let subscribe = format!(r#"{{"id":3,"subscribe":{{"channel":"chat:1","token":"{TOKEN}"}}}}"#);
    let refresh = format!(r#"{{"id":4,"refresh":{{"token":"{TOKEN}"}}}}"#);
    world.say(index, &format!("{subscribe}\n{refresh}"));
    let request = request_of(&world.asked()[0]);
    // Meanwhile the namespace has gone, so the command that is run again ends before its token is looked at.
    world.change(|settings| settings.namespaces.clear());
    world.hear(&ToShard::Verified { request, claims: user(&["chat:1"]) });
    assert!(world.heard(index)[0].contains(r#""id":3,"error":{"code":102"#));
    let asked = world.asked();
    assert!(asked[0].starts_with("Verify") && asked[0].contains("kind: Connection"), "{asked:?}");
}
