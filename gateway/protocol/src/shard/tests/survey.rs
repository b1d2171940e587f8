//! What the relay asks of all sessions: commands for a user's, whatever they are connected by, and counts.

use wire::ClientId;
use wire::survey::{Act, Answer, Command, Question, Subscribe};
use wire::token::Claims;

use super::*;
use crate::limits::{SURVEY_VISITS_PER_TURN, SURVEYS_MAX};

fn user(name: &str) -> Claims {
    Claims { user: name.to_owned(), ..Claims::default() }
}

fn disconnect() -> Act {
    Act::Disconnect { code: 4001, reason: "go".to_owned(), keep: Vec::new() }
}

fn subscribe(channel: &str) -> Subscribe {
    Subscribe { channel: channel.to_owned(), ..Subscribe::default() }
}

fn unsubscribe(channel: &str) -> Act {
    Act::Unsubscribe { channel: channel.to_owned(), code: 2000, reason: "server unsubscribe".to_owned() }
}

fn of(name: &str, act: Act) -> Command {
    Command { user: name.to_owned(), client: None, session: None, act }
}

impl World {
    /// A session of a user; its id.
    fn session(&mut self, name: &str) -> (usize, ClientId) {
        let (index, _) = self.connect("", user(name));
        let said = self.heard(index).join("");
        let id = said.split(r#""client":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        (index, ClientId::parse(id).unwrap())
    }

    fn ask_all(&mut self, number: u32, question: Question) {
        self.hear(&ToShard::Survey { number, question: Box::new(question) });
    }

    /// Works until nothing is left; all answers.
    fn answers(&mut self) -> Vec<(u32, Answer)> {
        while self.shard.survey(self.now) {}
        while self.shard.fan_out(self.now) {}
        let bytes = std::mem::take(self.shard.link_out());
        let mut rest = &bytes[..];
        let mut all = Vec::new();
        while let Some((body, after)) = frame::split(rest).unwrap() {
            match frame::decode::<ToRelay<'_>>(body).unwrap() {
                ToRelay::Surveyed { number, answer } => all.push((number, *answer)),
                ToRelay::Subscribe { request, .. } => {
                    self.hear(&begun(request, 5, "e"));
                    all.extend(self.answers());
                }
                _ => {}
            }
            rest = after;
        }
        all
    }

    /// For how many sessions a command was.
    fn done(&mut self, command: Command) -> u32 {
        self.ask_all(7, Question::Command(command));
        match &self.answers()[..] {
            [(7, Answer { sessions, missing: 0, .. })] => *sessions,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_user_is_disconnected_with_the_asked_code_and_nobody_else_is() {
    let mut world = World::new();
    let ((ann, _), (tab, _), (bob, _)) = (world.session("ann"), world.session("ann"), world.session("bob"));
    assert_eq!(world.done(of("ann", disconnect())), 2);
    assert_eq!(world.heard(ann), ["close 4001"]);
    assert_eq!(world.heard(tab), ["close 4001"]);
    assert_eq!(world.heard(bob), [""; 0]);
    assert_eq!(world.done(of("nobody", disconnect())), 0);
}

#[test]
fn one_session_can_be_meant_and_some_can_be_spared() {
    let mut world = World::new();
    let ((ann, id), (tab, other)) = (world.session("ann"), world.session("ann"));
    let keep = Act::Disconnect { code: 3503, reason: String::new(), keep: vec![id, other] };
    assert_eq!(world.done(of("ann", keep)), 0);
    let not_theirs = Command { client: Some(id), ..of("bob", disconnect()) };
    assert_eq!(world.done(not_theirs), 0, "the user has to be right as well");
    assert_eq!(world.done(Command { client: Some(id), ..of("ann", disconnect()) }), 1);
    assert_eq!(world.heard(ann), ["close 4001"]);
    assert_eq!(world.heard(tab), [""; 0]);
}

#[test]
fn the_server_subscribes_and_unsubscribes() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    let wanted = Subscribe { data: br#"{"d":1}"#.to_vec(), ..subscribe("chat:1") };
    assert_eq!(world.done(of("ann", Act::Subscribe(Box::new(wanted.clone())))), 1);
    assert_eq!(
        world.heard(ann),
        [
            r#"{"push":{"channel":"chat:1","subscribe":{"recoverable":true,"epoch":"e","offset":5,"positioned":true,"data":{"d":1}}}}"#
        ]
    );
    world.publish("chat:1", 6);
    assert_eq!(world.heard(ann), [r#"{"push":{"channel":"chat:1","pub":{"data":{},"offset":6}}}"#]);
    assert_eq!(world.done(of("ann", Act::Subscribe(Box::new(wanted)))), 1, "again changes nothing");
    assert_eq!(world.heard(ann), [""; 0]);
    assert_eq!(world.done(of("ann", unsubscribe("chat:1"))), 1);
    assert_eq!(
        world.heard(ann),
        [r#"{"push":{"channel":"chat:1","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#]
    );
    assert_eq!(world.shard.stats().subscriptions, 0);
}

#[test]
fn a_second_subscriber_of_a_live_channel_needs_no_answer() {
    let mut world = World::new();
    world.subscribed("chat:1");
    let (ann, _) = world.session("ann");
    world.done(of("ann", Act::Subscribe(Box::new(subscribe("chat:1")))));
    let said = world.heard(ann);
    assert!(said[0].contains(r#""subscribe":{"recoverable":true,"epoch":"e","offset":5"#), "{said:?}");
}

#[test]
fn what_was_missed_follows_the_push_of_a_subscription_that_recovers() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    let wanted = Subscribe { recover: Some((5, "e".to_owned())), ..subscribe("chat:1") };
    world.ask_all(7, Question::Command(of("ann", Act::Subscribe(Box::new(wanted)))));
    world.shard.survey(world.now);
    let asked = world.asked();
    assert!(asked[0].contains("recover: Some(Position { offset: 5"), "{asked:?}");
    let missed = Publication { offset: 6, data: b"{}", ..Publication::default() };
    world.hear(&ToShard::Subscribed {
        request: subscribe_request(&asked[0]).unwrap(),
        offset: 6,
        epoch: "e",
        recovered: true,
        publications: vec![missed],
    });
    assert_eq!(
        world.heard(ann),
        [
            r#"{"push":{"channel":"chat:1","subscribe":{"recoverable":true,"epoch":"e","offset":5,"positioned":true}}}"#,
            r#"{"push":{"channel":"chat:1","pub":{"data":{},"offset":6}}}"#
        ]
    );
}

#[test]
fn a_subscription_that_the_relay_refuses_fails_the_command_and_its_session_hears_nothing() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    world.ask_all(7, Question::Command(of("ann", Act::Subscribe(Box::new(subscribe("chat:1"))))));
    world.shard.survey(world.now);
    let request = subscribe_request(&world.asked()[0]).unwrap();
    assert_eq!(world.answers(), [], "what becomes of it is waited for");
    world.hear(&ToShard::Failed { request, code: 106 });
    assert_eq!(world.answers(), [(7, Answer { sessions: 1, missing: 1, failed: 106, ..Answer::default() })]);
    assert_eq!(world.heard(ann), [""; 0]);
    assert_eq!(world.shard.stats().channels, 0);
}

#[test]
fn an_unsubscription_behind_a_subscription_wins() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    world.ask_all(1, Question::Command(of("ann", Act::Subscribe(Box::new(subscribe("chat:1"))))));
    world.ask_all(2, Question::Command(of("ann", unsubscribe(""))));
    let mut numbers: Vec<u32> = world.answers().iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(world.heard(ann), [""; 0]);
    assert_eq!(world.shard.stats().channels, 0);
}

#[test]
fn a_subscription_of_the_servers_that_expires_ends_its_session() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    let wanted = Subscribe { expire_at: world.now.unix + 3, ..subscribe("chat:1") };
    world.done(of("ann", Act::Subscribe(Box::new(wanted))));
    world.heard(ann);
    assert_eq!(world.wait(ann, 27), [""; 0]);
    assert_eq!(world.wait(ann, 2), ["close 3006"]);
}

#[test]
fn a_session_gets_another_expiry_or_none() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    let expire_at = world.now.unix + 2;
    assert_eq!(world.done(of("ann", Act::Refresh { expire_at, info: None })), 1);
    assert_eq!(world.heard(ann), [""; 0], "one with commands knows from its token when to come");
    assert_eq!(u64::from(world.shard.connections[ann].expire_at), expire_at);
    world.done(of("ann", Act::Refresh { expire_at: 0, info: Some(b"{\"n\":2}".to_vec()) }));
    assert_eq!(world.shard.connections[ann].expire_at, 0);
    assert_eq!(world.shard.connections[ann].identity.info(), b"{\"n\":2}");
}

#[test]
fn channels_and_their_subscribers_are_counted() {
    let mut world = World::new();
    for channel in ["chat:1", "chat:1", "chat:2", "news"] {
        world.subscribed(channel);
    }
    let mut counted = |pattern: Option<&str>| {
        world.ask_all(9, Question::Channels(pattern.map(|glob| wire::pattern::Pattern::glob(glob).unwrap())));
        world.answers().remove(0).1.channels.into_iter().collect::<Vec<_>>()
    };
    let named =
        |all: &[(&str, u32)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(counted(None), named(&[("chat:1", 2), ("chat:2", 1), ("news", 1)]));
    assert_eq!(counted(Some("*:2")), named(&[("chat:2", 1)]));
}

#[test]
fn sessions_and_users_are_counted() {
    let mut world = World::new();
    world.session("ann");
    world.session("ann");
    world.session("bob");
    world.open();
    world.ask_all(9, Question::Census);
    let census = world.answers().remove(0).1.census;
    assert_eq!((census.clients, census.users.count(), census.subscriptions), (3, 2, 0));
}

#[test]
fn a_walk_goes_on_where_the_last_turn_ended() {
    let mut world = World::new();
    let (ann, _) = world.session("ann");
    world.shard.due.resize(3 * SURVEY_VISITS_PER_TURN, Tick::NEVER);
    world.ask_all(1, Question::Command(of("ann", unsubscribe(""))));
    let turns = (0..10).take_while(|_| world.shard.survey(world.now)).count();
    assert_eq!(turns, 3, "a part of the table in each turn");
    assert_eq!(world.answers().len(), 1);
    assert_eq!(world.heard(ann), [""; 0]);
}

#[test]
fn more_questions_than_can_wait_are_refused() {
    let mut world = World::new();
    for number in 0..=SURVEYS_MAX as u32 {
        world.ask_all(number, Question::Census);
    }
    let answers = world.answers();
    assert_eq!(answers[0], (SURVEYS_MAX as u32, Answer::failure(111)));
    assert_eq!(answers.len(), SURVEYS_MAX + 1);
    // Those of a relay that is gone are forgotten.
    world.ask_all(1, Question::Census);
    world.shard.link_down(world.now);
    world.shard.link_up();
    assert_eq!(world.answers(), []);
}

#[test]
fn listeners_get_the_pushes_too() {
    let mut world = World::with(Rules {
        transports: crate::http::Transports {
            uni_websocket: Some("/connection/uni_websocket".to_owned()),
            ..<_>::default()
        },
        ..Rules::default()
    });
    let index = world.open_at("/connection/uni_websocket");
    world.say(index, "{}");
    world.heard(index);
    let wanted = Act::Subscribe(Box::new(subscribe("chat:1")));
    assert_eq!(world.done(of("", wanted)), 1);
    assert!(world.heard(index)[0].starts_with(r#"{"channel":"chat:1","subscribe":{"#));
    let expire_at = world.now.unix + 60;
    world.done(of("", Act::Refresh { expire_at, info: None }));
    assert_eq!(world.heard(index), [r#"{"refresh":{"expires":true,"ttl":60}}"#]);
    world.done(of("", unsubscribe("chat:1")));
    assert_eq!(
        world.heard(index),
        [r#"{"channel":"chat:1","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}"#]
    );
    world.done(of("", disconnect()));
    assert_eq!(world.heard(index), [r#"{"disconnect":{"code":4001,"reason":"go"}}"#, "close 4001"]);
}
