//! Measures the codecs' hot paths: `cargo run --release -p protocol --example client_codec`.
//!
//! Prints the median of several rounds in nanoseconds per message. Never part of a test: figures depend on the machine.
#![allow(clippy::disallowed_methods, reason = "a stopwatch")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use protocol::client::{
    command::{Command, Publish, Request, Subscribe},
    encoding::Encoding,
    reply::{Push, Reply},
};
use wire::{
    ClientId,
    link::{ClientInfo, Publication},
};

const ROUNDS: usize = 21;
const MESSAGES: u32 = 100_000;

fn main() {
    for encoding in Encoding::ALL {
        println!("{}", encoding.subprotocol());
        read(encoding);
        write_and_hear(encoding);
    }
}

fn data() -> String {
    let text = "x".repeat(128 - r#"{"text":""}"#.len());
    format!(r#"{{"text":"{text}"}}"#)
}

fn read(encoding: Encoding) {
    let data = data();
    let publish = Publish { channel: "chat:42".into(), data: data.as_bytes() };
    let subscribe = Subscribe {
        channel: "chat:42".into(),
        recover: true,
        epoch: "xAbCdEfG".into(),
        offset: 14,
        flag: 1,
        ..Subscribe::default()
    };
    for (name, request) in [
        ("read publish, 128 bytes of data", Request::Publish(publish)),
        ("read subscribe", Request::Subscribe(subscribe)),
    ] {
        let mut message = Vec::new();
        encoding.command(&Command { id: 4, request }, &mut message);
        measure(name, || hear(encoding.commands(black_box(&message))));
    }
    measure("read pong", || hear(encoding.commands(black_box(encoding.ping()))));
}

fn hear(messages: impl Iterator) {
    messages.for_each(|message| {
        black_box(message);
    });
}

fn write_and_hear(encoding: Encoding) {
    let data = data();
    let mut out = Vec::with_capacity(4096);
    let info =
        ClientInfo { client: ClientId([7; 16]), user: "42", conn_info: br#"{"name":"A"}"#, chan_info: b"" };
    let plain = Publication { offset: 1_000_000, data: data.as_bytes(), ..Publication::default() };
    let raw = Publication { data: &[0xff; 128], ..plain };
    let signed = Publication { info: Some(info), ..plain };
    for (name, publication) in [
        ("write push, 128 bytes", plain),
        ("write push that is not JSON", raw),
        ("write push with its publisher", signed),
    ] {
        measure(name, || {
            out.clear();
            encoding.push(black_box("chat:42"), &Push::Publication(black_box(&publication)), &mut out);
            black_box(&out);
        });
    }
    measure("write reply to publish", || {
        out.clear();
        encoding.reply(black_box(1234), &Reply::Publish, &mut out);
        black_box(&out);
    });
    for (name, publication) in [("hear push, 128 bytes", plain), ("hear push with its publisher", signed)] {
        out.clear();
        encoding.push("chat:42", &Push::Publication(&publication), &mut out);
        measure(name, || hear(encoding.received(black_box(&out))));
    }
}

fn measure(name: &str, mut work: impl FnMut()) {
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..MESSAGES).for_each(|_| work());
            start.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    let median = rounds[ROUNDS / 2].as_nanos() as f64 / f64::from(MESSAGES);
    println!("{name:<32} {median:>7.1} ns");
}
