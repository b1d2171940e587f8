//! A subscriber connection: one task reads and hands over, and writes what is to be subscribed to.
//!
//! Owns the connection from its making to its end. The reader never waits for the broker: what finds no room is dropped, counted,
//! and its channels are told to have parted and joined, so that the broker looks at once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay::Backoff;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::{self, Instant};

use super::dial::{self, Server, Stream};
use super::handover::{Batch, Item};
use super::keys::Topic;
use super::limits::{
    DROPPED_CHANNELS_MAX, PING_AFTER, READ_BYTES, RECONNECT_PAUSE, REPLY_BYTES_MAX, SUBSCRIBES_MAX,
};
use super::node::Node;
use super::resp::{self, Value};
use super::shared::Shared;
use super::topics::{Change, Session};
use super::trouble::{Line, Trouble};

/// How often an idle connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often room is looked for when there was none.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// What a session's two halves share.
struct Talk {
    session: Session,
    state: Mutex<State>,
    /// A command was confirmed.
    room: Notify,
}

struct State {
    /// Commands that are not confirmed yet, oldest first.
    sent: VecDeque<Sent>,
    /// When anything came last.
    heard: Instant,
}

/// One subscribe or unsubscribe command.
struct Sent {
    partition: usize,
    subscribe: bool,
    /// Not yet confirmed; `None` is a topic of words between relays.
    topics: VecDeque<Option<Arc<str>>>,
}

/// Keeps a connection until the node is no longer used.
pub(super) async fn keep(
    shared: Arc<Shared>,
    node: Arc<Node>,
    line: Arc<Line>,
    mut unused: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(RECONNECT_PAUSE.0, RECONNECT_PAUSE.1, shared.seed());
    // How the server was when it last closed a connection by itself.
    let mut closed: Option<Server> = None;
    loop {
        let trouble = tokio::select! {
            trouble = connection(&shared, &node, &line, &mut backoff, &mut closed) => trouble,
            _ = unused.wait_for(|unused| *unused) => Trouble::Unused,
        };
        if let Some(session) = node.session() {
            node.set_session(None);
            shared.session_lost(session);
        }
        if !shared.again(&line, &trouble, &mut backoff, &mut unused).await {
            return;
        }
    }
}

/// One connection.
async fn connection(
    shared: &Arc<Shared>,
    node: &Arc<Node>,
    line: &Line,
    backoff: &mut Backoff,
    closed: &mut Option<Server>,
) -> Trouble {
    let (stream, server, rest) = match greet(shared, &node.address).await {
        Ok(made) => made,
        Err(trouble) => {
            // It was not only this connection that ended: the server was away.
            *closed = None;
            return trouble;
        }
    };
    if let Some(before) = closed.take() {
        explain(shared, &node.address, &before, &server);
    }
    let session = shared.session();
    let talk = Talk {
        session,
        state: Mutex::new(State { sent: VecDeque::new(), heard: Instant::now() }),
        room: Notify::new(),
    };
    node.set_session(Some(session));
    shared.attach(node);
    backoff.worked();
    line.up(&shared.said);
    let (reading, writing) = tokio::io::split(stream);
    let trouble = tokio::select! {
        trouble = read(shared, node, &talk, reading, rest) => trouble,
        trouble = write(shared, node, &talk, writing) => trouble,
    };
    if trouble == Trouble::Closed(node.address.clone()) {
        *closed = Some(server);
    }
    trouble
}

/// Connects, says who we are, and asks how the server is. The bytes came behind the last answer.
async fn greet(shared: &Shared, address: &str) -> Result<(Stream, Server, Vec<u8>), Trouble> {
    let settings = &shared.settings;
    let mut stream = dial::dial(settings, address).await?;
    let login = &settings.login;
    let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if !login.password.is_empty() {
        let user = if login.user.is_empty() { "default" } else { &login.user };
        words.extend([b"AUTH".as_slice(), user.as_bytes(), login.password.bytes()]);
    }
    let mut out = Vec::new();
    resp::command(&words, &mut out);
    resp::command(&[b"INFO"], &mut out);
    let talking = async {
        let broken = |error: std::io::Error| Trouble::Unreachable(address.to_owned(), error.to_string());
        stream.write_all(&out).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut bytes = Vec::new();
        let mut server = None;
        // Two answers, then the session begins.
        for _ in 0..2 {
            loop {
                let found = resp::value(&bytes)
                    .map_err(|_| Trouble::Other(address.to_owned(), "is no Redis".into()))?;
                if let Some((value, length)) = found {
                    match value {
                        Value::Error(text) => {
                            return Err(Trouble::said(address, &String::from_utf8_lossy(text)));
                        }
                        Value::Text(text) => server = Some(Server::read(&String::from_utf8_lossy(text))),
                        _ => {}
                    }
                    bytes.drain(..length);
                    break;
                }
                bytes.reserve(READ_BYTES);
                if stream.read_buf(&mut bytes).await.map_err(broken)? == 0 {
                    return Err(Trouble::Unreachable(address.to_owned(), "closed the connection".to_owned()));
                }
            }
        }
        let server = server.unwrap_or_default();
        server.check(settings, address)?;
        Ok((server, bytes))
    };
    let silent = || Trouble::Silent(address.to_owned(), settings.connect_timeout);
    let (server, rest) = time::timeout(settings.connect_timeout, talking).await.map_err(|_| silent())??;
    Ok((stream, server, rest))
}

/// Why a server that is well has closed a connection, as far as can be known.
fn explain(shared: &Shared, address: &str, before: &Server, now: &Server) {
    if before.run != now.run {
        return;
    }
    let certain = match before.kills.zip(now.kills) {
        // It counts them, and it was none.
        Some((before, now)) if now <= before => return,
        counted => counted.is_some(),
    };
    shared.counters.killed(1);
    let how = if certain { "" } else { "most likely " };
    crate::log::log!(
        "bus: {address} closed the subscriber connection while it was well, {how}because more waited for this relay than \
         `client-output-buffer-limit pubsub` allows: raise it (CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\") \
         or give this relay more CPU; what was lost is read again from history"
    );
}

/// Reads, parses and hands over until the connection ends.
async fn read(
    shared: &Arc<Shared>,
    node: &Node,
    talk: &Talk,
    mut stream: ReadHalf<Stream>,
    rest: Vec<u8>,
) -> Trouble {
    let mut chunk = rest;
    let mut dropped = Dropped::default();
    loop {
        match parse(shared, node, talk, &chunk) {
            Ok((0, _)) => {}
            Ok((length, items)) => {
                // A copy of what is there: the large buffer stays for the next read.
                let bytes = chunk[..length].to_vec();
                chunk.drain(..length);
                hand_over(shared, talk.session, Batch { bytes, items }, &mut dropped);
            }
            Err(trouble) => return trouble,
        }
        if chunk.len() > REPLY_BYTES_MAX {
            return Trouble::Other(node.address.clone(), "sends more at once than the bus takes".to_owned());
        }
        chunk.reserve(READ_BYTES);
        let reading = stream.read_buf(&mut chunk);
        let read = if dropped.any() {
            // Something waits for room: it is not to wait for the next message, too.
            match time::timeout(ROOM_PAUSE, reading).await {
                Ok(read) => read,
                Err(_) => {
                    hand_over(shared, talk.session, Batch::default(), &mut dropped);
                    continue;
                }
            }
        } else {
            reading.await
        };
        match read {
            Ok(0) | Err(_) => return Trouble::Closed(node.address.clone()),
            Ok(_) => talk.lock().heard = Instant::now(),
        }
    }
}

/// What is whole in the bytes: how long it is, and what it says.
fn parse(
    shared: &Arc<Shared>,
    node: &Node,
    talk: &Talk,
    bytes: &[u8],
) -> Result<(usize, Vec<Item>), Trouble> {
    let (mut at, mut items) = (0, Vec::new());
    loop {
        if let Some(message) = resp::message(bytes, at) {
            at = message.end;
            items.push(Item::Message { topic: message.topic, payload: message.payload });
            continue;
        }
        match resp::value(&bytes[at..]) {
            Ok(Some((value, length))) => {
                at += length;
                items.extend(heard(shared, node, talk, &value)?);
            }
            Ok(None) => return Ok((at, items)),
            Err(_) => return Err(Trouble::Other(node.address.clone(), "is no Redis".to_owned())),
        }
    }
}

/// Takes what is no message.
fn heard(shared: &Arc<Shared>, node: &Node, talk: &Talk, value: &Value<'_>) -> Result<Option<Item>, Trouble> {
    match value {
        Value::Push(items) => match items.as_slice() {
            [Value::Text(b"subscribe" | b"ssubscribe"), Value::Text(_), _] => {
                Ok(talk.confirmed(shared, true))
            }
            [Value::Text(b"unsubscribe" | b"sunsubscribe"), Value::Text(topic), _] => {
                if talk.expects(shared, topic) {
                    return Ok(talk.confirmed(shared, false));
                }
                Ok(ended(shared, talk, topic))
            }
            _ => Ok(None),
        },
        Value::Error(text) => {
            let text = String::from_utf8_lossy(text);
            let moved =
                ["MOVED", "CLUSTERDOWN", "TRYAGAIN", "ASK "].iter().any(|code| text.starts_with(code));
            match talk.lock().sent.pop_front() {
                Some(sent) if moved => {
                    shared.topics().refused(talk.session, sent.partition);
                    shared.nudge();
                    talk.room.notify_one();
                    Ok(None)
                }
                _ => Err(Trouble::said(&node.address, &text)),
            }
        }
        _ => Ok(None),
    }
}

/// The server has ended a subscription by itself: the slot is moving.
fn ended(shared: &Arc<Shared>, talk: &Talk, topic: &[u8]) -> Option<Item> {
    shared.nudge();
    match shared.keys.read(topic)? {
        Topic::Channel(channel) => {
            let partition = shared.keys.partition(channel);
            let parted = shared.topics().ended(talk.session, partition, channel);
            parted.then(|| Item::Parted(channel.into()))
        }
        Topic::Edges => {
            shared.topics().refused(talk.session, 0);
            None
        }
    }
}

impl Talk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the oldest command is to end this very subscription.
    fn expects(&self, shared: &Shared, topic: &[u8]) -> bool {
        let state = self.lock();
        let oldest = state.sent.front().filter(|sent| !sent.subscribe);
        let next = oldest.and_then(|sent| sent.topics.front());
        matches!((next, shared.keys.read(topic)), (Some(Some(next)), Some(Topic::Channel(channel))) if **next == *channel)
    }

    /// One topic of the oldest command is confirmed. Redis confirms in the order it was asked.
    fn confirmed(&self, shared: &Shared, subscribe: bool) -> Option<Item> {
        let mut state = self.lock();
        let sent = state.sent.front_mut().filter(|sent| sent.subscribe == subscribe)?;
        let (partition, topic) = (sent.partition, sent.topics.pop_front()?);
        if sent.topics.is_empty() {
            state.sent.pop_front();
            self.room.notify_one();
        }
        drop(state);
        let channel = topic?;
        let joined = shared.topics().confirmed(self.session, partition, &channel);
        joined.then_some(Item::Joined(channel))
    }
}

/// Channels whose publications found no room.
#[derive(Default)]
struct Dropped {
    channels: BTreeSet<Arc<str>>,
    /// More of them than are remembered.
    all: bool,
    /// What must arrive nevertheless.
    kept: Vec<Item>,
}

impl Dropped {
    fn any(&self) -> bool {
        self.all || !self.channels.is_empty() || !self.kept.is_empty()
    }
}

/// Hands a batch over; if there is no room, drops its messages.
fn hand_over(shared: &Shared, session: Session, mut batch: Batch, dropped: &mut Dropped) {
    if batch.items.is_empty() && !dropped.any() {
        return;
    }
    if dropped.any() {
        let mut first = std::mem::take(&mut dropped.kept);
        let mut again = std::mem::take(&mut dropped.channels);
        if dropped.all {
            again.extend(shared.topics().joined(session));
        }
        first.extend(again.into_iter().map(Item::Again));
        first.append(&mut batch.items);
        batch.items = first;
        dropped.all = false;
    }
    let Err(batch) = shared.offer(batch) else { return };
    let mut lost = 0;
    for item in batch.items {
        match item {
            Item::Message { topic, .. } => {
                lost += 1;
                let topic = batch.bytes.get(topic).and_then(|topic| shared.keys.read(topic));
                if let (Some(Topic::Channel(channel)), false) = (topic, dropped.all) {
                    if !dropped.channels.contains(channel) {
                        dropped.channels.insert(channel.into());
                    }
                    dropped.all = dropped.channels.len() >= DROPPED_CHANNELS_MAX;
                }
            }
            Item::Again(channel) => {
                dropped.channels.insert(channel);
            }
            item => dropped.kept.push(item),
        }
    }
    shared.counters.dropped(lost);
}

/// Writes subscriptions as they are wanted, and asks a silent server whether it lives.
async fn write(shared: &Arc<Shared>, node: &Node, talk: &Talk, mut stream: WriteHalf<Stream>) -> Trouble {
    let mut asked = false;
    loop {
        let room = talk.lock().sent.len() < SUBSCRIBES_MAX;
        let change = if room { shared.topics().take(talk.session) } else { None };
        let mut out = Vec::new();
        match change {
            Some(mut change) => {
                let joined: Vec<Item> = change.joined.drain(..).map(Item::Joined).collect();
                // Something to be said about channels always finds room.
                if let Err(batch) = shared.offer(Batch { bytes: Vec::new(), items: joined }) {
                    shared.handover.insist(batch.items);
                }
                say(shared, talk, change, &mut out);
            }
            None => {
                let silent = talk.lock().heard.elapsed();
                asked &= silent >= PING_AFTER;
                if silent >= PING_AFTER + shared.settings.answer_timeout {
                    return Trouble::Silent(node.address.clone(), silent);
                }
                if silent >= PING_AFTER && !asked {
                    resp::command(&[b"PING"], &mut out);
                    asked = true;
                } else {
                    tokio::select! {
                        () = node.bell.notified() => {}
                        () = talk.room.notified() => {}
                        () = time::sleep(LOOK) => {}
                    }
                }
            }
        }
        if out.is_empty() {
            continue;
        }
        let writing = async {
            stream.write_all(&out).await?;
            stream.flush().await
        };
        match time::timeout(shared.settings.answer_timeout, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Trouble::Closed(node.address.clone()),
            Err(_) => return Trouble::Silent(node.address.clone(), shared.settings.answer_timeout),
        }
    }
}

/// Composes the commands of a change, and remembers them.
fn say(shared: &Shared, talk: &Talk, change: Change, out: &mut Vec<u8>) {
    let cluster = shared.settings.cluster();
    let verbs: [&[u8]; 2] =
        if cluster { [b"SSUBSCRIBE", b"SUNSUBSCRIBE"] } else { [b"SUBSCRIBE", b"UNSUBSCRIBE"] };
    let partition = change.partition;
    let mut state = talk.lock();
    if change.words {
        let topics = [shared.keys.edge_topic(None), shared.keys.edge_topic(Some(shared.edge))];
        resp::command(&[verbs[0], topics[0].as_bytes(), topics[1].as_bytes()], out);
        state.sent.push_back(Sent { partition, subscribe: true, topics: [None, None].into() });
    }
    for (verb, subscribe, channels) in
        [(verbs[0], true, change.subscribe), (verbs[1], false, change.unsubscribe)]
    {
        if channels.is_empty() {
            continue;
        }
        resp::head(1 + channels.len(), out);
        resp::argument(verb, out);
        channels.iter().for_each(|channel| resp::argument(shared.keys.topic(channel).as_bytes(), out));
        state.sent.push_back(Sent { partition, subscribe, topics: channels.into_iter().map(Some).collect() });
    }
}
