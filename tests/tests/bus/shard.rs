//! A shard as promises need it: it asks and is answered; everything else that it hears is kept until somebody asks for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tests::link::Link;
use tests::wait;
use tests::world::World;
use wire::ClientId;
use wire::code;
use wire::link::{self, ClientInfo, ToRelay, ToShard};
use wire::tags::{Tags, TagsBuf};

/// Nothing takes longer where it works.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// A place in a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) epoch: String,
}

/// A publication, to keep.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Publication {
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
    /// Who published it: client, user, and what is told of both.
    pub(crate) info: Option<(ClientId, String, Vec<u8>, Vec<u8>)>,
    pub(crate) tags: TagsBuf,
    pub(crate) delta: bool,
}

/// Something that was heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Subscribed { request: u32, place: Place, recovered: Option<Vec<Publication>> },
    Published { request: u32, place: Place, duplicate: bool },
    History { request: u32, place: Place, publications: Vec<Publication> },
    Presence { request: u32, users: Vec<String> },
    Stats { request: u32, clients: u32, users: u32 },
    Failed { request: u32, code: u16 },
    Publication { channel: String, publication: Publication },
    Joined { channel: String, user: String },
    Left { channel: String, user: String },
    Insufficient { channel: String },
    Other,
}

/// One link.
pub(crate) struct Shard {
    link: Link,
    kept: VecDeque<Heard>,
    requests: u32,
}

impl Place {
    fn new(offset: u64, epoch: &str) -> Self {
        Self { offset, epoch: epoch.to_owned() }
    }

    /// The same with another offset.
    pub(crate) fn at(&self, offset: u64) -> Self {
        Self::new(offset, &self.epoch)
    }

    fn words(&self) -> link::Position<'_> {
        link::Position { offset: self.offset, epoch: &self.epoch }
    }
}

impl From<&link::Publication<'_>> for Publication {
    fn from(said: &link::Publication<'_>) -> Self {
        let info = said.info.map(|info| {
            (info.client, info.user.to_owned(), info.conn_info.to_vec(), info.chan_info.to_vec())
        });
        Self {
            offset: said.offset,
            data: said.data.to_vec(),
            info,
            tags: said.tags.to_buf(),
            delta: said.delta,
        }
    }
}

impl From<&ToShard<'_>> for Heard {
    fn from(said: &ToShard<'_>) -> Self {
        let list = |all: &[link::Publication<'_>]| all.iter().map(Publication::from).collect();
        match said {
            ToShard::Subscribed { request, offset, epoch, recovered, publications } => Self::Subscribed {
                request: *request,
                place: Place::new(*offset, epoch),
                recovered: recovered.then(|| list(publications)),
            },
            ToShard::Published { request, offset, epoch, duplicate } => Self::Published {
                request: *request,
                place: Place::new(*offset, epoch),
                duplicate: *duplicate,
            },
            ToShard::History { request, offset, epoch, publications } => Self::History {
                request: *request,
                place: Place::new(*offset, epoch),
                publications: list(publications),
            },
            ToShard::Presence { request, members } => {
                let mut users: Vec<String> = members.iter().map(|info| info.user.to_owned()).collect();
                users.sort();
                Self::Presence { request: *request, users }
            }
            ToShard::PresenceStats { request, clients, users } => {
                Self::Stats { request: *request, clients: *clients, users: *users }
            }
            ToShard::Failed { request, code } => Self::Failed { request: *request, code: *code },
            ToShard::Publication { channel, publication } => {
                Self::Publication { channel: (*channel).to_owned(), publication: publication.into() }
            }
            ToShard::Join { channel, info } => {
                Self::Joined { channel: (*channel).to_owned(), user: info.user.to_owned() }
            }
            ToShard::Leave { channel, info } => {
                Self::Left { channel: (*channel).to_owned(), user: info.user.to_owned() }
            }
            ToShard::Insufficient { channel } => Self::Insufficient { channel: (*channel).to_owned() },
            _ => Self::Other,
        }
    }
}

impl Heard {
    fn request(&self) -> Option<u32> {
        match self {
            Self::Subscribed { request, .. }
            | Self::Published { request, .. }
            | Self::History { request, .. }
            | Self::Presence { request, .. }
            | Self::Stats { request, .. }
            | Self::Failed { request, .. } => Some(*request),
            _ => None,
        }
    }
}

impl Shard {
    pub(crate) fn open(edge: &World) -> Self {
        static GATEWAY: AtomicU64 = AtomicU64::new(1);
        let gateway = GATEWAY.fetch_add(1, Ordering::Relaxed);
        let link = Link::open(&edge.file("relay.sock"), gateway).unwrap();
        Self { link, kept: VecDeque::new(), requests: 0 }
    }

    /// Says something; whoever says much flushes in the end.
    pub(crate) fn say(&mut self, message: &ToRelay<'_>) {
        self.link.say(message).unwrap();
    }

    pub(crate) fn flush(&mut self) {
        self.link.flush().unwrap();
    }

    /// The number of the next question.
    pub(crate) fn request(&mut self) -> u32 {
        self.requests += 1;
        self.requests
    }

    /// Waits for something that `pick` makes something of; the rest is kept in order.
    pub(crate) fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Heard) -> Option<T>) -> T {
        let deadline = wait::now() + WITHIN;
        let mut looked = 0;
        loop {
            while let Some(heard) = self.kept.get(looked) {
                if let Some(found) = pick(heard) {
                    self.kept.remove(looked);
                    return found;
                }
                looked += 1;
            }
            let kept = &mut self.kept;
            let heard = self.link.hear(|said| kept.push_back(said.into()));
            let last = || self.kept.iter().rev().take(5).collect::<Vec<_>>();
            heard.unwrap_or_else(|error| panic!("waited for {what}: {error:#}; last {:?}", last()));
            assert!(wait::now() < deadline, "waited for {what}; last {:?}", last());
        }
    }

    /// Whether anything that was heard so far, and not asked for, is as `wanted`.
    pub(crate) fn has_heard(&self, wanted: impl Fn(&Heard) -> bool) -> bool {
        self.kept.iter().any(wanted)
    }

    /// Asks once.
    pub(crate) fn ask<'a>(&mut self, question: impl FnOnce(u32) -> ToRelay<'a>) -> Heard {
        let number = self.request();
        self.say(&question(number));
        self.flush();
        self.answer(number)
    }

    /// The answer to a question.
    pub(crate) fn answer(&mut self, number: u32) -> Heard {
        self.until("an answer", |heard| (heard.request() == Some(number)).then(|| heard.clone()))
    }

    /// Asks again while the answer is a temporary error; the error's code if it is another one.
    pub(crate) fn settled<'a>(&mut self, question: impl Fn(u32) -> ToRelay<'a>) -> Result<Heard, u16> {
        let deadline = wait::now() + WITHIN;
        loop {
            match self.ask(&question) {
                Heard::Failed { code, .. } if code::error(code).temporary => {
                    assert!(wait::now() < deadline, "an error that should be temporary");
                    wait::pause(Duration::from_millis(20));
                }
                Heard::Failed { code, .. } => return Err(code),
                heard => return Ok(heard),
            }
        }
    }

    /// Subscribes; the place.
    pub(crate) fn subscribe(&mut self, channel: &str) -> Place {
        self.resume(channel, None, false).0
    }

    /// Subscribes and recovers what came after a place: where the channel is, and that if it could be had.
    pub(crate) fn recover(&mut self, channel: &str, from: &Place) -> (Place, Option<Vec<Publication>>) {
        self.resume(channel, Some(from), false)
    }

    /// The same where the latest publication is enough.
    pub(crate) fn resume(
        &mut self,
        channel: &str,
        from: Option<&Place>,
        latest: bool,
    ) -> (Place, Option<Vec<Publication>>) {
        let recover = from.map(Place::words);
        match self.settled(|request| ToRelay::Subscribe { request, channel, recover, latest }) {
            Ok(Heard::Subscribed { place, recovered, .. }) => (place, recovered),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn unsubscribe(&mut self, channel: &str) {
        self.say(&ToRelay::Unsubscribe { channel });
        self.flush();
    }

    /// Publishes once, which must work; the place.
    pub(crate) fn publish(&mut self, channel: &str, data: &[u8]) -> Place {
        match self.ask(|request| publish(request, channel, data, "")) {
            Heard::Published { place, duplicate: false, .. } => place,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes with a key; the place, and whether the key had been used.
    pub(crate) fn publish_once(&mut self, channel: &str, data: &[u8], key: &str) -> (Place, bool) {
        match self.settled(|request| publish(request, channel, data, key)) {
            Ok(Heard::Published { place, duplicate, .. }) => (place, duplicate),
            other => panic!("{other:?}"),
        }
    }

    /// A page of history, or the error's code.
    pub(crate) fn page(
        &mut self,
        channel: &str,
        since: Option<&Place>,
        limit: i32,
        reverse: bool,
    ) -> Result<(Place, Vec<Publication>), u16> {
        let since = since.map(Place::words);
        match self.settled(|request| ToRelay::History { request, channel, since, limit, reverse })? {
            Heard::History { place, publications, .. } => Ok((place, publications)),
            other => panic!("{other:?}"),
        }
    }

    /// The next publication of a channel.
    pub(crate) fn publication(&mut self, channel: &str) -> Publication {
        self.until(&format!("a publication of {channel}"), |heard| match heard {
            Heard::Publication { channel: of, publication } if of == channel => Some(publication.clone()),
            _ => None,
        })
    }

    /// Enters a channel as a client whose id follows from its name; `ann/2` is the second one of ann.
    pub(crate) fn enter(&mut self, channel: &str, name: &str) {
        self.say(&ToRelay::Enter { channel, presence: true, announced: true, info: info(name) });
        self.flush();
    }

    pub(crate) fn leave(&mut self, channel: &str, name: &str) {
        self.say(&ToRelay::Leave { channel, client: info(name).client });
        self.flush();
    }

    /// Who is in the channel, by user.
    pub(crate) fn present(&mut self, channel: &str) -> Vec<String> {
        match self.settled(|request| ToRelay::Presence { request, channel }) {
            Ok(Heard::Presence { users, .. }) => users,
            other => panic!("{other:?}"),
        }
    }

    /// Clients and users in the channel.
    pub(crate) fn counted(&mut self, channel: &str) -> (u32, u32) {
        match self.settled(|request| ToRelay::PresenceStats { request, channel }) {
            Ok(Heard::Stats { clients, users, .. }) => (clients, users),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until these are there and nobody else.
    pub(crate) fn until_present(&mut self, channel: &str, wanted: &[&str]) {
        let mut last = Vec::new();
        let found = wait::until("members", WITHIN, || {
            last = self.present(channel);
            (last == wanted).then_some(())
        });
        found.unwrap_or_else(|error| panic!("{error}: {last:?} instead of {wanted:?}"));
    }

    /// Waits for a user to join (true) or leave.
    pub(crate) fn until_told(&mut self, channel: &str, user: &str, joined: bool) {
        self.until(&format!("{user} to come or go"), |heard| match heard {
            Heard::Joined { channel: of, user: who } if joined => {
                (of == channel && who == user).then_some(())
            }
            Heard::Left { channel: of, user: who } if !joined => (of == channel && who == user).then_some(()),
            _ => None,
        });
    }
}

/// A publication of nobody.
pub(crate) fn publish<'a>(request: u32, channel: &'a str, data: &'a [u8], key: &'a str) -> ToRelay<'a> {
    let (tags, info) = (Tags::NONE, None);
    ToRelay::Publish { request, channel, data, info, tags, key, skip_history: false, delta: false }
}

/// A client whose id follows from its name, of the user before the slash.
pub(crate) fn info(name: &str) -> ClientInfo<'_> {
    let mut id = [0; 16];
    name.bytes().take(16).enumerate().for_each(|(at, byte)| id[at] = byte);
    let user = name.split('/').next().unwrap_or_default();
    ClientInfo { client: ClientId(id), user, conn_info: b"{\"of\":1}", chan_info: b"" }
}

/// The offsets of publications.
pub(crate) fn offsets(publications: &[Publication]) -> Vec<u64> {
    publications.iter().map(|publication| publication.offset).collect()
}
