//! The cases of the Autobahn suite, by its numbers, against a gateway whose listeners echo: 301 without compression, 216 with. Its
//! fuzzing client needs Python 2.7, so the cases are made here anew: what is sent, what may come back, and how the connection has to
//! end.
//!
//! Grades are Autobahn's: OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED, FAILED for what came back; OK, UNCLEAN, WRONG CODE, FAILED BY
//! CLIENT, INFORMATIONAL, FAILED for the end.

mod cases;
mod coder;
mod compressed;
mod play;

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

pub use cases::all;

use crate::client::Stream;
use crate::world::World;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// As Autobahn numbers it.
    pub name: String,
    /// Compression that the client offers; without an agreement about it there is nothing to see.
    offer: Option<String>,
    steps: Vec<Step>,
    /// What comes back, frame by frame, when all is well.
    strict: Vec<Event>,
    /// What else may.
    lenient: Option<Vec<Event>>,
    end: End,
    /// Whatever happens is right.
    informational: bool,
}

/// What the client does.
#[derive(Clone, Debug)]
enum Step {
    /// Sends bytes, at once or in pieces of so many.
    Send { bytes: Vec<u8>, chop: Option<usize> },
    /// Sees that nothing comes for so long, which is an event. Nothing follows on a connection that has been closed.
    Wait(Duration),
    /// Waits for an event.
    Hear,
    /// Sends the same so many times, each after the echo of the one before.
    Repeat { bytes: Vec<u8>, echo: Event, times: usize },
    /// Sends messages compressed, each after the echo of the one before, which may be compressed too.
    Exchange(compressed::Messages),
}

/// What comes.
#[derive(Clone, PartialEq, Eq)]
enum Event {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Silence,
}

/// How the connection ends.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    /// The client closes with 1000 once it has what it waits for, and the server answers with 1000.
    ByClient,
    /// A step has sent a close frame; the server answers with one of these codes or none, or (not clean) may just go.
    Sent { codes: Vec<u16>, clean: bool },
    /// The server closes, with one of these codes.
    ByServer(Vec<u16>),
}

/// How a case went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// By Autobahn's words.
    pub behaviour: &'static str,
    /// The same for the end of the connection.
    pub ending: &'static str,
    /// What was seen where something is wrong.
    pub seen: String,
}

impl Verdict {
    /// Nothing that Autobahn counts as a failure, or as bad manners at the end.
    pub fn passed(&self) -> bool {
        matches!(self.behaviour, "OK" | "NON-STRICT" | "INFORMATIONAL" | "UNIMPLEMENTED")
            && matches!(self.ending, "OK" | "INFORMATIONAL")
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, payload) = match self {
            Self::Text(payload) => ("text", payload),
            Self::Binary(payload) => ("binary", payload),
            Self::Pong(payload) => ("pong", payload),
            Self::Silence => return f.write_str("silence"),
        };
        write!(f, "{kind} of {} bytes {}", payload.len(), payload[..payload.len().min(32)].escape_ascii())
    }
}

/// Plays one case on a connection of its own, with TLS or without.
pub fn play(world: &World, case: &Case, secure: bool) -> Result<Verdict> {
    let (address, name) = if secure { (world.secure, Some("localhost")) } else { (world.plain, None) };
    let stream = Stream::open(world, address, name)?;
    play::play(stream, case).with_context(|| format!("case {}", case.name))
}

/// A gateway that plays all of them.
pub fn world() -> Result<World> {
    World::builder().echo().gateway("[websocket]\ncompression = true\n").start()
}

/// Plays all of them without TLS and writes the verdicts. False when one has not passed.
pub fn run(results: &Path) -> Result<bool> {
    let world = world()?;
    let mut text = String::from(
        "The cases of the Autobahn suite against a gateway that echoes, played by tests/src/conformance/websocket:\n\
         `cargo xtask conformance websocket` writes this file and fails on any that does not pass. A change of it is for review.\n\
         Unimplemented are offers that insist on a window of 256 bytes: they are declined, as RFC 7692 §7.1.2.1 allows.\n\n\
         case     behaviour      end of the connection\n",
    );
    let mut passed = true;
    for case in all() {
        let verdict = play(&world, &case, false)?;
        let Verdict { behaviour, ending, seen } = &verdict;
        writeln!(text, "{:8} {behaviour:14} {ending}", case.name)?;
        if !verdict.passed() {
            passed = false;
            eprintln!("{:8} {behaviour:14} {ending:16} {seen}", case.name);
        }
    }
    let path = results.join("websocket.txt");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(passed)
}
