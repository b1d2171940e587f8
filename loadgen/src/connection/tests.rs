//! One connection against a server's half in memory: in whole buffers, byte by byte, plain and over TLS.

use protocol::client::encoding::Encoding;
use protocol::tls::{ClientOptions, Trust, client_config};
use rustls::pki_types::ServerName;

use super::*;
use crate::frames::Dice;
use crate::tests::peer::Peer;

/// A connection, its peer, and everything between them.
struct World {
    connection: Connection,
    peer: Peer,
    manner: Manner,
    scratch: Scratch,
    frames: Frames,
    ear: Ear,
    /// Bytes handed over at a time.
    step: usize,
    reached: bool,
    commands: Vec<String>,
}

/// Hears everything.
#[derive(Default)]
struct Ear {
    channel: Option<String>,
    ping_s: u32,
    recovers_from: Option<u64>,
    recovered: Vec<Option<usize>>,
    publications: Vec<String>,
    answers: Vec<(u32, bool)>,
}

impl Identity for Ear {
    fn token(&mut self, number: u32) -> Result<String, Cause> {
        Ok(format!("token-{number}"))
    }

    fn channel(&mut self, _number: u32) -> Option<String> {
        self.channel.clone()
    }

    fn recovers_from(&self) -> Option<u64> {
        self.recovers_from
    }

    fn recovered(&mut self, _number: u32, publications: Option<usize>) {
        self.recovered.push(publications);
    }

    fn announced(&mut self, ping_s: u32) {
        self.ping_s = ping_s;
    }
}

impl Listener for Ear {
    fn publication(&mut self, line: &mut Line<'_>, data: &[u8]) {
        *line.marked = true;
        self.publications.push(String::from_utf8(data.to_vec()).unwrap());
    }

    fn answer(&mut self, _line: &mut Line<'_>, id: u32, answer: &Answer<'_>) {
        self.answers.push((id, matches!(answer, Answer::Error(_))));
    }
}

impl World {
    fn new(tls: bool, goal: Goal) -> Self {
        let config = client_config(&ClientOptions { trust: Trust::Insecure, ..ClientOptions::default() });
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = Connection::vacant();
        connection.occupy(3, 42, 0);
        Self {
            connection,
            peer: if tls { Peer::secure() } else { Peer::default() },
            manner: Manner {
                tls: tls.then(|| (config.unwrap(), name)),
                authority: "localhost".to_owned(),
                path: "/connection/websocket".to_owned(),
                origin: None,
                deflate: false,
                encoding: Encoding::Json,
                goal,
            },
            scratch: Scratch::default(),
            frames: Frames::new(Encoding::Json, Dice::new([1; 8])),
            ear: Ear { channel: Some("room".to_owned()), ..Ear::default() },
            step: usize::MAX,
            reached: false,
            commands: Vec::new(),
        }
    }

    fn speak(&mut self, encoding: Encoding) {
        self.manner.encoding = encoding;
        self.frames = Frames::new(encoding, Dice::new([1; 8]));
    }

    /// Connects over TCP and goes on until neither side has anything to say.
    fn begin(&mut self) -> Result<(), Cause> {
        self.reached |= self.connection.begin(&self.manner, &mut self.frames)? == Reached::Goal;
        self.settle()
    }

    fn settle(&mut self) -> Result<(), Cause> {
        loop {
            let out = self.connection.transmit(&mut self.scratch, &mut self.frames)?.to_vec();
            if out.is_empty() {
                return Ok(());
            }
            self.connection.sent(out.len(), &mut self.scratch);
            let mut answer = Vec::new();
            for chunk in out.chunks(self.step) {
                self.commands.extend(self.peer.receive(chunk, &mut answer).iter().map(ToString::to_string));
            }
            self.hear(&answer)?;
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Cause> {
        for chunk in bytes.chunks(self.step) {
            let (scratch, frames) = (&mut self.scratch, &mut self.frames);
            let mut chunk = chunk.to_vec();
            let reached =
                self.connection.receive(9, &mut chunk, &self.manner, scratch, frames, &mut self.ear)?;
            self.reached |= reached == Reached::Goal;
        }
        Ok(())
    }

    fn said(&mut self, text: &str) -> Result<(), Cause> {
        let mut out = Vec::new();
        self.peer.say(text, &mut out);
        self.hear(&out)?;
        self.settle()
    }

    fn open(tls: bool) -> Self {
        let mut world = Self::new(tls, Goal::Greeted);
        world.begin().unwrap();
        world.said("{\"id\":1,\"connect\":{\"client\":\"c\",\"ping\":25,\"pong\":true}}\n{\"id\":2,\"subscribe\":{}}").unwrap();
        assert!(world.reached);
        world
    }
}

#[test]
fn a_connection_opens_over_tls_and_plain_in_any_pieces() {
    for (tls, step) in [(false, usize::MAX), (false, 1), (true, usize::MAX), (true, 1), (true, 100)] {
        let mut world = World::new(tls, Goal::Greeted);
        world.step = step;
        world.begin().unwrap();
        assert_eq!(world.commands.len(), 2, "tls {tls} step {step}: {:?}", world.commands);
        assert!(world.commands[0].contains("token-42") && world.commands[1].contains("room"));
        assert_eq!(world.connection.stage(), Stage::Greeting);
        world.said("{\"id\":1,\"connect\":{\"ping\":25,\"pong\":true}}").unwrap();
        assert!(!world.reached, "the subscription is still to come");
        world.said("{\"id\":2,\"subscribe\":{}}").unwrap();
        assert!(world.reached);
        assert_eq!((world.connection.stage(), world.ear.ping_s), (Stage::Open, 25));
        assert!(world.connection.hot.is_none(), "an idle connection owns no box");
    }
}

#[test]
fn an_idle_tls_connection_costs_about_two_hundred_bytes() {
    let world = World::open(true);
    let bytes = size_of::<Connection>() + world.connection.heap_bytes();
    assert!(bytes <= 208, "{bytes}");
}

#[test]
fn nearer_goals_are_reached_on_the_way() {
    for (goal, commands) in [(Goal::Secured, 0), (Goal::Upgraded, 0)] {
        for tls in [false, true] {
            let mut world = World::new(tls, goal);
            world.begin().unwrap();
            assert!(world.reached, "{goal:?} {tls}");
            assert_eq!((world.connection.stage(), world.commands.len()), (Stage::Open, commands));
        }
    }
}

#[test]
fn without_a_channel_the_connect_reply_is_enough() {
    let mut world = World::new(false, Goal::Greeted);
    world.ear.channel = None;
    world.begin().unwrap();
    assert_eq!(world.commands.len(), 1);
    world.said("{\"id\":1,\"connect\":{}}").unwrap();
    assert!(world.reached);
}

#[test]
fn pings_of_both_kinds_are_answered() {
    let mut world = World::open(true);
    world.commands.clear();
    world.said("{}").unwrap();
    let mut out = Vec::new();
    world.peer.frame(Opcode::Ping, b"hi", &mut out);
    world.hear(&out).unwrap();
    world.settle().unwrap();
    assert_eq!(world.commands, ["{}", "\"Pong([104, 105])\""]);
}

#[test]
fn publications_and_answers_reach_the_listener_in_pieces_too() {
    for step in [usize::MAX, 1, 7] {
        let mut world = World::open(true);
        world.step = step;
        let push = "{\"push\":{\"channel\":\"room\",\"pub\":{\"data\":{\"a\":1}}}}";
        world.said(&format!("{push}\n{push}\n{{\"id\":3,\"publish\":{{}}}}")).unwrap();
        world.said("{\"id\":4,\"error\":{\"code\":108,\"message\":\"no\"}}").unwrap();
        assert_eq!(world.ear.publications, ["{\"a\":1}", "{\"a\":1}"]);
        assert_eq!(world.ear.answers, [(3, false), (4, true)]);
        assert!(world.connection.marked && world.connection.hot.is_none());
    }
}

#[test]
fn protobuf_is_spoken_once_it_is_agreed_to() {
    let mut world = World::new(true, Goal::Greeted);
    world.speak(Encoding::Protobuf);
    world.begin().unwrap();
    assert!(world.commands[0].contains("token-42") && world.commands[1].contains("room"));
    world.said("{\"id\":1,\"connect\":{\"ping\":25,\"pong\":true}}\n{\"id\":2,\"subscribe\":{}}").unwrap();
    assert!(world.reached && world.connection.hot.is_none());
    world.commands.clear();
    world.said("{}\n{\"push\":{\"channel\":\"room\",\"pub\":{\"data\":{\"a\":1}}}}").unwrap();
    world.said("{\"id\":4,\"error\":{\"code\":108,\"message\":\"no\"}}").unwrap();
    assert_eq!(
        (world.commands.as_slice(), world.ear.publications.as_slice()),
        (&["{}".to_owned()][..], &["{\"a\":1}".to_owned()][..])
    );
    assert_eq!(world.ear.answers, [(4, true)]);

    let mut world = World::new(false, Goal::Greeted);
    world.speak(Encoding::Protobuf);
    world.peer = Peer::of_json_only();
    assert_eq!(world.begin(), Err(Cause::Garbled("the server did not agree to the subprotocol".into())));
}

#[test]
fn messages_of_the_other_kind_are_not_read() {
    let mut world = World::open(false);
    let mut out = Vec::new();
    world.peer.frame(Opcode::Binary, &[0], &mut out);
    assert_eq!(world.hear(&out), Err(Cause::Garbled("a binary message".into())));
}

#[test]
fn an_end_names_its_cause() {
    let cause = |world: &mut World, text: &str| world.said(text).unwrap_err();
    assert_eq!(
        cause(&mut World::open(false), "x"),
        Cause::Garbled("not a message of the client protocol".into())
    );
    let unsubscribed = "{\"push\":{\"channel\":\"room\",\"unsubscribe\":{\"code\":2500,\"reason\":\"x\"}}}";
    assert_eq!(cause(&mut World::open(false), unsubscribed), Cause::Unsubscribed(2500));

    for (code, wanted) in [(Some(3008), 3008), (None, NO_CODE)] {
        let mut world = World::open(true);
        let (payload, bytes) = ws::close_payload(code, "");
        let mut out = Vec::new();
        world.peer.frame(Opcode::Close, &payload[..bytes], &mut out);
        assert_eq!(world.hear(&out), Err(Cause::Closed(wanted)));
        assert!(!world.frames.finished().is_empty(), "a close frame is answered");
    }
}

#[test]
fn a_refused_session_names_the_error() {
    let mut world = World::new(false, Goal::Greeted);
    world.begin().unwrap();
    assert_eq!(world.said("{\"id\":1,\"error\":{\"code\":101,\"message\":\"x\"}}"), Err(Cause::Error(101)));
}

#[test]
fn a_refused_upgrade_names_the_status() {
    let mut world = World::new(true, Goal::Greeted);
    world.manner.path = "/elsewhere".to_owned();
    assert_eq!(world.begin(), Err(Cause::Status(404)));
}

#[test]
fn a_server_that_is_not_trusted_is_told_so_in_words() {
    let mut world = World::new(true, Goal::Greeted);
    let strict = client_config(&ClientOptions::default()).unwrap();
    world.manner.tls = Some((strict, ServerName::try_from("localhost").unwrap()));
    let Err(Cause::Tls(words)) = world.begin() else { panic!("a certificate from nowhere was trusted") };
    assert!(words.contains("certificate"), "{words}");
    assert!(world.connection.owes(), "an alert is owed");
}

#[test]
fn what_the_socket_does_not_take_is_kept_and_sent_in_order() {
    let mut world = World::open(true);
    world.commands.clear();
    for _ in 0..2 {
        world.frames.pong();
        let out = world.connection.transmit(&mut world.scratch, &mut world.frames).unwrap().to_vec();
        let mut answer = Vec::new();
        world.commands.extend(world.peer.receive(&out[..5], &mut answer).iter().map(ToString::to_string));
        assert_eq!(world.connection.sent(5, &mut world.scratch), out.len() - 5);
        assert!(world.connection.owes());
    }
    world.settle().unwrap();
    assert_eq!(world.commands, ["{}", "{}"]);
    assert!(!world.connection.owes() && world.connection.hot.is_none());
}

#[test]
fn a_vacated_slot_keeps_nothing_but_its_generation() {
    let mut world = World::open(true);
    assert_eq!(world.connection.vacate(), 3);
    assert!(!world.connection.is_taken());
    assert_eq!((world.connection.generation, world.connection.heap_bytes()), (1, 0));
}
