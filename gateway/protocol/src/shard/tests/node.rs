//! Sessions whose channels a node lists, and subscriptions that it has decided on: what begins with them, and that no move of their user
//! is overtaken by what was decided before.

use wire::backend::{Given, Outcome};
use wire::code;
use wire::survey::{Act, Command, Question, Subscribe};
use wire::token::{Claims, Sub};

use super::{identity::request_of, *};

fn user(subs: &[&str]) -> Claims {
    let subs = subs.iter().map(|channel| Sub { channel: (*channel).to_owned(), ..Sub::default() }).collect();
    Claims { user: "ann".to_owned(), subs, ..Claims::default() }
}

fn listed(channels: &[&str], expire_at: u64) -> Outcome {
    let claims = Claims { expire_at, user: String::new(), ..user(channels) };
    Outcome::Granted(Box::new(Given { claims, ..Given::default() }))
}

fn command(act: Act) -> Question {
    Question::Command(Command { user: "ann".to_owned(), client: None, session: None, act })
}

fn unsubscribe(channel: &str) -> Question {
    command(Act::Unsubscribe { channel: channel.to_owned(), code: 2000, reason: "no member".to_owned() })
}

impl World {
    fn listing() -> Self {
        let mut world = Self::new();
        world.pass(0);
        world.change(|settings| {
            settings.backend.channels = true;
            settings.client.channel_limit = 3;
            let chat = &mut settings.namespaces[0];
            (chat.subscribe_proxy, chat.sub_refresh_proxy) = (true, true);
        });
        world
    }

    /// A connection of "ann" whose channels are these; what is asked then.
    fn ann_listed(&mut self, subs: &[&str], outcome: Outcome) -> (usize, Vec<String>) {
        let (index, asked) =
            self.connect(r#","subs":{"chat:1":{"recover":true,"offset":4,"epoch":"e"}}"#, user(subs));
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].starts_with("Channels {") && asked[0].contains(r#"user: "ann""#), "{asked:?}");
        self.hear(&ToShard::Proxied { request: request_of(&asked[0]), outcome });
        (index, self.asked())
    }

    fn begin_all(&mut self, asked: &[String]) {
        for asked in asked.iter().filter(|text| text.starts_with("Subscribe")) {
            self.hear(&begun(subscribe_request(asked).unwrap(), 5, "e"));
        }
    }

    fn survey_all(&mut self, question: Question) {
        self.hear(&ToShard::Survey { number: 9, question: Box::new(question) });
        while self.shard.survey(self.now) {}
    }
}

#[test]
fn a_session_begins_with_the_channels_of_its_token_then_those_that_are_listed_while_there_is_room() {
    let mut world = World::listing();
    let (index, asked) =
        world.ann_listed(&["news"], listed(&["chat:1", "nowhere:1", "news", "chat:2", "chat:3"], 0));
    let names: Vec<bool> = ["news", "chat:1"]
        .iter()
        .map(|name| asked.iter().any(|text| text.contains(&format!("{name:?}"))))
        .collect();
    assert_eq!(names, [true, true], "{asked:?}");
    assert!(asked.iter().any(|text| text.contains("offset: 4")), "where the client was: {asked:?}");
    assert!(!asked.iter().any(|text| text.contains("chat:3")), "there is room for three: {asked:?}");
    world.begin_all(&asked);
    let said = world.heard(index).join("");
    assert!(said.contains(r#""connect":{"client""#) && said.contains(r#""chat:1":{"#), "{said}");
}

#[test]
fn without_a_word_on_its_channels_a_session_does_not_begin_and_may_come_again() {
    let mut world = World::listing();
    let (index, asked) = world.connect("", user(&[]));
    world.hear(&ToShard::Failed { request: request_of(&asked[0]), code: code::INTERNAL.code });
    let said = world.heard(index).join("");
    assert!(said.contains(r#""error":{"code":100"#) && said.contains(r#""temporary":true"#), "{said}");
}

#[test]
fn what_was_listed_is_asked_about_again_when_its_time_is_over() {
    let mut world = World::listing();
    let at = world.now.unix + 3;
    let (index, asked) = world.ann_listed(&[], listed(&["chat:1"], at));
    world.begin_all(&asked);
    assert!(!world.heard(index).join("").contains("expires"), "nothing for the client to do");
    world.asked();
    let mut all = Vec::new();
    for _ in 0..6 {
        assert_eq!(world.wait(index, 1), [""; 0]);
        all.extend(world.asked());
    }
    assert!(all.iter().any(|text| text.contains("SubRefresh")), "{all:?}");
}

#[test]
fn a_session_that_begins_while_its_user_is_moved_begins_anew() {
    let join = || {
        command(Act::Subscribe(Box::new(Subscribe { channel: "chat:2".to_owned(), ..Subscribe::default() })))
    };
    for (question, ends) in [(unsubscribe("chat:1"), true), (unsubscribe("chat:2"), false), (join(), true)] {
        let mut world = World::listing();
        let (index, _) = world.ann_listed(&[], listed(&["chat:1"], 0));
        world.survey_all(question.clone());
        let said = world.heard(index).join("");
        assert_eq!(said.contains("close 3010"), ends, "{question:?}: {said}");
    }
}

#[test]
fn a_subscription_that_was_decided_before_its_user_was_removed_does_not_come_to_be() {
    let mut world = World::listing();
    let (index, asked) = world.ann_listed(&[], listed(&[], 0));
    assert!(asked.is_empty(), "{asked:?}");
    world.heard(index);
    world.say(index, r#"{"id":2,"subscribe":{"channel":"chat:1"}}"#);
    let asked = world.asked();
    world.hear(&ToShard::Proxied { request: request_of(&asked[0]), outcome: listed(&["chat:1"], 0) });
    let asked = world.asked();
    world.survey_all(unsubscribe("chat:1"));
    world.begin_all(&asked);
    let said = world.heard(index).join("");
    assert!(said.contains(r#""id":2,"error":{"code":100"#), "it may ask again: {said}");
    assert!(world.asked().iter().any(|text| text.starts_with("Unsubscribe")), "nobody wants the channel");
    assert_eq!(world.shard.connections[index].places.as_slice().len(), 0);
}
