//! Debian's `slowhttptest` against a gateway: connections that send their request heads, their bodies or read their responses as
//! slowly as they can, while a client beside them publishes and listens.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::client::Client;
use crate::metrics;
use crate::wait;
use crate::world::World;

/// An attack: what it is called, and what makes it.
struct Attack {
    title: &'static str,
    path: &'static str,
    arguments: &'static [&'static str],
}

const ATTACKS: [Attack; 3] = [
    Attack {
        title: "slow heads: a header line every 5 s",
        path: "/connection/websocket",
        arguments: &["-H", "-i", "5", "-t", "GET"],
    },
    Attack {
        title: "slow bodies: some bytes every 5 s",
        path: "/connection/http_stream",
        arguments: &["-B", "-i", "5", "-s", "8192", "-x", "10", "-t", "POST"],
    },
    Attack {
        title: "slow reads: 5 bytes every 5 s; answers are short and leave at once, slow readers of pushes are an end-to-end test",
        path: "/connection/sse",
        arguments: &["-X", "-n", "5", "-z", "5", "-w", "10", "-y", "20", "-k", "3"],
    },
];

/// Connections of each attack, opened at [`RATE`] per second, for [`SECONDS`].
const CONNECTIONS: &str = "1000";
const RATE: &str = "200";
const SECONDS: &str = "40";
/// How long the client beside the attack waits between two publications.
const EVERY: Duration = Duration::from_millis(20);
/// What 99 of 100 of its publications have to stay under.
const LATENCY_MAX: Duration = Duration::from_millis(250);
/// The gateway's connections are counted once in so many publications.
const COUNT_EVERY: usize = 25;

/// Runs all attacks and writes what was seen. False when one did harm.
pub fn run(slowhttptest: &Path, results: &Path) -> Result<bool> {
    let mut text = format!(
        "slowhttptest against a gateway beside a client that publishes to itself over TLS every {EVERY:?}: `cargo xtask conformance slow`\n\
         writes this file. Each attack opens {CONNECTIONS} connections, {RATE} per second, and lasts at most {SECONDS} s; in a development build, on\n\
         one machine with the attacker, so times are upper bounds. Fails when a hundredth of the publications take over {LATENCY_MAX:?}, when the\n\
         client is lost, or when the attacker finds the service gone.\n"
    );
    let mut harmless = true;
    for attack in &ATTACKS {
        let (lines, well) = suffer(attack, slowhttptest)?;
        write!(text, "\n== {}\n{lines}", attack.title)?;
        println!("== {}\n{lines}", attack.title);
        harmless &= well;
    }
    let path = results.join("slow.txt");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(harmless)
}

fn suffer(attack: &Attack, slowhttptest: &Path) -> Result<(String, bool)> {
    let world = World::builder().gateway("[http_stream]\nenabled = true\n[sse]\nenabled = true\n").start()?;
    let mut client = Client::of(&world, "ann")?;
    client.subscribe("news")?;
    let calm = latencies(&mut client, || Ok(false), 100)?;
    let mut command = Command::new(slowhttptest);
    command.args(attack.arguments).args(["-c", CONNECTIONS, "-r", RATE, "-l", SECONDS, "-p", "3"]);
    command.args(["-u", &format!("http://{}{}", world.plain, attack.path)]);
    let log = world.file("attack.log");
    let output = fs::File::create(&log)?;
    let mut attacker = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
    let (mut asked, mut held, mut most) = (0, 0.0, 0.0_f64);
    let attacked = || -> Result<bool> {
        let on = attacker.try_wait()?.is_none();
        if on && asked % COUNT_EVERY == 0 {
            held = world.metrics()?.sum(metrics::CONNECTIONS, &[]);
            most = most.max(held);
        }
        asked += 1;
        Ok(on)
    };
    let during = latencies(&mut client, attacked, 0);
    if during.is_err() {
        let _ = attacker.kill();
    }
    attacker.wait()?;
    let during = during?;
    let said = fs::read_to_string(&log)?;
    let (status, available) = last_status(&said)?;
    let mut lines =
        format!("attacker: {status}\ngateway: {most} connections at most, {held} when last counted\n");
    for (when, times) in [("before", &calm), ("during", &during)] {
        let [half, most, slowest] = [0.5, 0.99, 1.0].map(|part| at(times, part).as_secs_f64() * 1e3);
        writeln!(
            lines,
            "client {when}: {} publications, p50 {half:.1} ms, p99 {most:.1} ms, slowest {slowest:.1} ms",
            times.len()
        )?;
    }
    Ok((lines, available && at(&during, 0.99) <= LATENCY_MAX))
}

/// Publishes and hears it, at least so many times and while `more` says so; the times it took, sorted.
fn latencies(
    client: &mut Client,
    mut more: impl FnMut() -> Result<bool>,
    least: usize,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while times.len() < least || more()? {
        let started = wait::now();
        client.publish("news", &json!({ "number": times.len() }))?;
        let heard = client.push_of("pub")?;
        times.push(started.elapsed());
        ensure!(heard["data"]["number"] == json!(times.len() - 1), "heard {heard}");
        client.idle(EVERY)?;
    }
    times.sort_unstable();
    ensure!(!times.is_empty(), "nothing was published");
    Ok(times)
}

/// The time that this part of the sorted times stays under.
fn at(times: &[Duration], part: f64) -> Duration {
    times[((times.len() - 1) as f64 * part) as usize]
}

/// The attacker's last words on its connections, in one line, and whether it found the service available.
fn last_status(log: &str) -> Result<(String, bool)> {
    let value = |name: &str| {
        let line = log.lines().rev().find(|line| line.contains(name))?;
        let text = plain(line.rsplit(name).next()?);
        Some(text.trim().trim_start_matches(':').trim().to_owned())
    };
    let read = || {
        let named = ["connected", "error", "closed"].map(|name| Some(format!("{name} {}", value(name)?)));
        let [connected, error, closed] = named;
        let available = value("service available")?;
        let end = value("Exit status")?;
        let line = format!("{}, {}, {}, service available: {available}; {end}", connected?, error?, closed?);
        Some((line, available == "YES"))
    };
    read().with_context(|| format!("slowhttptest said:\n{log}"))
}

/// A text without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_is_read_without_its_colours() {
        let log = "\u{1b}[1;32mconnected:\u{1b}[0m 900\nclosed: 1\n\u{1b}[1mconnected:           \u{1b}[0m3\nerror:               0\n\
                   closed:              997\nservice available:   \u{1b}[1;32mYES\u{1b}[0m\nTest ended on 12th second\nExit status: \u{1b}[1;32mNo open connections left\u{1b}[0m\n";
        let expected = "connected 3, error 0, closed 997, service available: YES; No open connections left";
        assert_eq!(last_status(log).unwrap(), (expected.to_owned(), true));
    }
}
