//! Who posts and who listens: many connections by REST, some clients of an edge, and the times between.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::Client;
use crate::rest::Rest;
use crate::wait;

/// One look at a connection that listens.
const LOOK: Duration = Duration::from_millis(100);

/// How long something took, by percentile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Times {
    pub(super) fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| all.get(all.len() * percent / 100).copied().unwrap_or_default();
        Self { p50: at(50), p99: at(99) }
    }

    pub(super) const fn ms(time: Duration) -> f64 {
        time.as_secs_f64() * 1e3
    }
}

/// What came of some posting.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) count: u64,
    pub(super) per_second: f64,
    pub(super) acknowledged: Times,
}

/// Posts over so many connections for so long, as fast as answers come, or at a pace of so many a second in all. Each message goes to the
/// next channel, and says when it was sent, in microseconds since `began`.
pub(super) fn post(
    people: &[Rest],
    channels: &[String],
    connections: usize,
    time: Duration,
    pace: Option<u64>,
    began: Instant,
) -> Result<Posted> {
    let next = AtomicU64::new(0);
    let start = wait::now();
    let each = |number: usize| -> Result<Vec<Duration>> {
        let person = number % people.len();
        let mut rest = people[person].another();
        let mut times = Vec::new();
        while start.elapsed() < time {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if let Some(pace) = pace {
                let due = Duration::from_secs_f64(turn as f64 / pace as f64);
                wait::pause(due.saturating_sub(start.elapsed()));
            }
            // A person's channels stand as many apart as there are people.
            let channel = &channels[(turn as usize * people.len() + person) % channels.len()];
            let path = format!("/v1/channels/{channel}/messages");
            let sent = wait::now();
            let at = (sent - began).as_micros() as u64;
            let body = json!({ "body": { "text": TEXT, "sent": at }, "key": format!("{number}-{at}") });
            rest.call("POST", &path, Some(&body))?.expect(201)?;
            times.push(sent.elapsed());
        }
        Ok(times)
    };
    let all = thread::scope(|scope| {
        let running: Vec<_> = (0..connections).map(|number| scope.spawn(move || each(number))).collect();
        let mut all = Vec::new();
        for thread in running {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a poster panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let (count, took) = (all.len() as u64, start.elapsed().as_secs_f64());
    Ok(Posted { count, per_second: count as f64 / took, acknowledged: Times::of(all) })
}

/// About as long as what people write.
pub(super) const TEXT: &str =
    "The ferry leaves at nine from the pier beyond the lighthouse; bring a coat, the wind is up.";

/// Clients that are subscribed by the server to their channels and note how long messages took from the post.
#[derive(Debug)]
pub(super) struct Audience {
    over: Arc<AtomicBool>,
    times: Arc<Mutex<Vec<Duration>>>,
    threads: Vec<thread::JoinHandle<Result<()>>>,
}

impl Audience {
    /// One client for each of these people.
    pub(super) fn open(
        connect: impl Fn(&Rest) -> Result<Client>,
        people: &[Rest],
        began: Instant,
    ) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let mut threads = Vec::new();
        for person in people {
            let mut client = connect(person)?;
            let (over, times) = (Arc::clone(&over), Arc::clone(&times));
            threads.push(thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    while let Some(message) = client.next(LOOK)? {
                        if let Some(sent) = sent(&message) {
                            let took = (wait::now() - began).saturating_sub(sent);
                            times.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                        }
                    }
                }
                Ok(())
            }));
        }
        Ok(Self { over, times, threads })
    }

    /// How many messages came.
    pub(super) fn heard(&self) -> usize {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What was heard so far is not counted.
    pub(super) fn forget(&self) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends it.
    pub(super) fn close(self) -> Result<Times> {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a listener panicked"))?.context("a listener")?;
        }
        Ok(Times::of(std::mem::take(&mut self.times.lock().unwrap_or_else(PoisonError::into_inner))))
    }
}

fn sent(message: &Value) -> Option<Duration> {
    message["push"]["pub"]["data"]["body"]["sent"].as_u64().map(Duration::from_micros)
}
