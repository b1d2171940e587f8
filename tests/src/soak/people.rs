//! Who uses the system while it is struck: publishers who insist until they are answered, subscribers who stay, and some who go away
//! and come back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::ledger::{Books, Channel, Id, Place, Seen};
use super::stored::Poster;
use crate::client::Client;
use crate::sim::random::Random;
use crate::wait;

/// How long a client waits for an answer before it takes its connection for dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A client that could not connect, or whose command was refused for now, tries again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long one look at the connection lasts.
const LOOK: Duration = Duration::from_millis(50);

/// What all clients share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Subscribers leave when this is set, publishers when `quiet` is.
    pub(super) over: AtomicBool,
    /// No further publications are begun.
    pub(super) quiet: AtomicBool,
    /// How many publications were begun.
    pub(super) published: AtomicU64,
    /// Attempts that were answered with an error, or not at all.
    pub(super) refused: AtomicU64,
    /// What was said and seen.
    pub(super) books: Mutex<Books>,
    /// Names of the channels.
    names: Vec<String>,
    /// What is published is the body of a message.
    stored: bool,
}

impl Shared {
    /// Empty books. Channels of nodes have names of their own and hold messages.
    pub(super) fn new(names: Vec<String>, stored: bool) -> Self {
        let (over, quiet) = (AtomicBool::new(false), AtomicBool::new(false));
        let (published, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { over, quiet, published, refused, books: Mutex::default(), names, stored }
    }

    /// What is published in a channel.
    fn data(&self, id: Id) -> Value {
        if self.stored { json!({ "body": { "id": id } }) } else { json!({ "id": id }) }
    }

    fn channel(&self, name: &str) -> Option<Channel> {
        self.names.iter().position(|known| known == name)
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Makes a connection to an edge for a user, connected in the protocol's sense.
pub(super) type Connect<'a> = dyn Fn(&str) -> Result<Client> + Sync + 'a;

/// What a publisher is called.
pub(super) fn publisher_name(number: usize) -> String {
    format!("publisher-{number}")
}

/// What a subscriber is called.
pub(super) fn subscriber_name(number: usize) -> String {
    format!("subscriber-{number}")
}

/// Publishes at a pace until it is to be quiet. Each publication is tried, with its idempotency key, until it is acknowledged; by turns
/// over the connection and, where there are nodes, by REST.
pub(super) fn publisher(
    number: usize,
    pause: Duration,
    connect: &Connect<'_>,
    mut poster: Option<Poster>,
    shared: &Shared,
) {
    let mut random = Random::new(number as u64);
    let mut client = None;
    while !shared.quiet.load(Ordering::Relaxed) {
        let channel = random.index(shared.names.len());
        let id = shared.published.fetch_add(1, Ordering::Relaxed);
        while !shared.is_over() {
            let by_rest = poster.as_mut().filter(|_| random.below(2) == 0);
            let tried = match by_rest {
                Some(poster) => poster.post(channel, id),
                None => attempt(&mut client, number, (channel, id), connect, shared),
            };
            match tried {
                Ok(place) => {
                    shared.books().acknowledged.entry(channel).or_default().insert(place, id);
                    break;
                }
                Err(_) => {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    wait::pause(AGAIN_AFTER);
                }
            }
        }
        wait::pause(pause);
    }
}

/// One try. After a failure of the connection the next one makes another.
fn attempt(
    client: &mut Option<Client>,
    number: usize,
    (channel, id): (Channel, Id),
    connect: &Connect<'_>,
    shared: &Shared,
) -> Result<Place> {
    let user = publisher_name(number);
    let connected = match client.take() {
        Some(client) => client,
        None => connect(&user)?,
    };
    let connected = client.insert(connected);
    let (channel, data) = (&shared.names[channel], shared.data(id));
    let data = json!({ "channel": channel, "data": data, "idempotency_key": format!("key-{id}") });
    let reply = connected.call(&json!({ "rpc": { "method": "publish", "data": data } }));
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => {
            *client = None;
            return Err(error);
        }
    };
    let result = &reply["rpc"]["data"];
    let (offset, epoch) = (result["offset"].as_u64(), result["epoch"].as_str());
    let (offset, epoch) = offset.zip(epoch).with_context(|| format!("refused: {reply}"))?;
    Ok(Place { offset, epoch: epoch.to_owned() })
}

/// One who listens.
#[derive(Debug)]
pub(super) struct Subscriber<'a> {
    /// Its number.
    pub(super) number: usize,
    /// Its channels.
    pub(super) channels: Vec<Channel>,
    /// It goes away now and then.
    pub(super) wanders: bool,
    shared: &'a Shared,
    at: BTreeMap<Channel, Place>,
    seen: Vec<(Channel, Seen)>,
    /// Channels whose subscription is to be asked for.
    wanted: Vec<Channel>,
    asked: BTreeMap<u32, Channel>,
}

impl<'a> Subscriber<'a> {
    /// Not connected yet.
    pub(super) fn new(number: usize, channels: Vec<Channel>, wanders: bool, shared: &'a Shared) -> Self {
        let (at, seen, wanted, asked) = <_>::default();
        Self { number, channels, wanders, shared, at, seen, wanted, asked }
    }

    /// Listens until it is over, through as many connections as that takes. An error is a broken promise of the protocol.
    pub(super) fn listen(mut self, connect: &Connect<'_>) -> Result<()> {
        let mut random = Random::new(1000 + self.number as u64);
        while !self.shared.is_over() {
            let Ok(mut client) = connect(&subscriber_name(self.number)) else {
                wait::pause(AGAIN_AFTER);
                continue;
            };
            (self.wanted, self.asked) = (self.channels.clone(), BTreeMap::new());
            let stay =
                Duration::from_millis(if self.wanders { random.between(2_000, 8_000) } else { u64::MAX / 2 });
            let ended = self.stay(&mut client, stay);
            drop(client);
            self.write();
            if let Some(broken) = ended.err().filter(|error| error.is::<Broken>()) {
                return Err(broken);
            }
            if self.wanders {
                wait::pause(Duration::from_millis(random.between(100, 3_000)));
            }
        }
        Ok(())
    }

    /// One connection.
    fn stay(&mut self, client: &mut Client, stay: Duration) -> Result<()> {
        let until = wait::now().checked_add(stay);
        let mut last_asked = wait::now();
        while !self.shared.is_over()
            && until.is_none_or(|until| wait::now() < until || self.shared.quiet.load(Ordering::Relaxed))
        {
            for channel in std::mem::take(&mut self.wanted) {
                let id = client.command(&self.question(channel))?;
                self.asked.insert(id, channel);
                last_asked = wait::now();
            }
            while let Some(message) = client.next(LOOK)? {
                self.take(&message)?;
                if !self.wanted.is_empty() {
                    break;
                }
            }
            let overdue = !self.asked.is_empty() && wait::now() - last_asked > ANSWER_WITHIN;
            ensure!(!overdue, "no answer to a subscription");
            // Once all is quiet the books are read, and have to have everything.
            let read = self.shared.quiet.load(Ordering::Relaxed) && !self.seen.is_empty();
            if self.seen.len() > 256 || read {
                self.write();
            }
        }
        Ok(())
    }

    fn question(&self, channel: Channel) -> Value {
        let channel_name = &self.shared.names[channel];
        match self.at.get(&channel) {
            Some(Place { epoch, offset }) => json!({ "subscribe":
                { "channel": channel_name, "recover": true, "epoch": epoch, "offset": offset } }),
            None => json!({ "subscribe": { "channel": channel_name } }),
        }
    }

    fn take(&mut self, message: &Value) -> Result<()> {
        if let Some(id) = message["id"].as_u64() {
            let Some(channel) = self.asked.remove(&(id as u32)) else { return Ok(()) };
            return match message.get("subscribe") {
                Some(result) => self.subscribed(channel, result),
                None => {
                    // A temporary error: asked again, at the pace of one look.
                    self.wanted.push(channel);
                    wait::pause(AGAIN_AFTER);
                    Ok(())
                }
            };
        }
        let push = &message["push"];
        let Some(channel) = push["channel"].as_str().and_then(|name| self.shared.channel(name)) else {
            return Ok(());
        };
        if push.get("pub").is_some() {
            self.got(channel, &push["pub"])?;
        } else if push.get("unsubscribe").is_some() {
            self.wanted.push(channel);
        }
        Ok(())
    }

    fn subscribed(&mut self, channel: Channel, result: &Value) -> Result<()> {
        if result["recovered"] == json!(true) {
            self.seen.push((channel, Seen::Recovered));
            for publication in result["publications"].as_array().into_iter().flatten() {
                self.got(channel, publication)?;
            }
            return Ok(());
        }
        let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
        let place = Place { epoch, offset: result["offset"].as_u64().unwrap_or(0) };
        self.at.insert(channel, place.clone());
        self.seen.push((channel, Seen::Began(place)));
        Ok(())
    }

    fn got(&mut self, channel: Channel, publication: &Value) -> Result<()> {
        let offset = publication["offset"].as_u64().ok_or_else(|| Broken(publication.to_string()))?;
        let data = &publication["data"];
        let id = data["body"]["id"]
            .as_u64()
            .or_else(|| data["id"].as_u64())
            .ok_or_else(|| Broken(publication.to_string()))?;
        if let Some(at) = self.at.get_mut(&channel) {
            at.offset = offset;
        }
        self.seen.push((channel, Seen::Got { offset, id }));
        Ok(())
    }

    /// Puts what was seen into the books.
    fn write(&mut self) {
        let mut books = self.shared.books();
        for (channel, seen) in self.seen.drain(..) {
            books.seen.entry((self.number, channel)).or_default().push(seen);
        }
    }
}

/// A message that the protocol does not have.
#[derive(Debug)]
struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a publication without offset or id: {}", self.0)
    }
}

impl std::error::Error for Broken {}
