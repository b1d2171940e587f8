//! A bus with links whose frames are read back as plain values.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::ClientId;
use wire::frame;
use wire::link::{ClientInfo, Position, Publication, ToRelay, ToShard};
use wire::settings::{Namespace, Settings};
use wire::survey::{Answer, Question};
use wire::tags::Tags;

use crate::{Broker, Event, Limits, LinkId, Transmit};

/// What a link saw, without the request numbers (checked to answer each question once).
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Seen {
    Subscribed { offset: u64, epoch: String, recovered: bool, publications: Vec<(u64, String)> },
    Published { offset: u64 },
    Duplicate { offset: u64 },
    History { offset: u64, publications: Vec<(u64, String)> },
    Presence(Vec<ClientId>),
    PresenceStats { clients: u32, users: u32 },
    Failed { code: u16 },
    Admitted,
    Disconnect { session: u64 },
    Publication { channel: String, offset: u64, data: String },
    Join(ClientId),
    Leave(ClientId),
    Insufficient(String),
    Emulate { asker: u32, request: u32, data: String },
    Emulated { found: bool },
    Done,
    Survey { number: u32, question: Question },
    Surveyed(Answer),
}

impl Seen {
    pub(super) fn publication(channel: &str, offset: u64, data: &str) -> Self {
        Self::Publication { channel: channel.to_owned(), offset, data: data.to_owned() }
    }

    pub(super) fn offset(&self) -> Option<u64> {
        match self {
            Self::Publication { offset, .. } => Some(*offset),
            _ => None,
        }
    }
}

pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) settings: Settings,
    pub(super) now: Duration,
    pub(super) ready: Vec<LinkId>,
    pub(super) closing: Vec<LinkId>,
    asked: BTreeMap<u32, LinkId>,
    unread: BTreeMap<LinkId, Vec<(Option<u32>, Seen)>>,
    requests: u32,
}

pub(super) fn client(number: u8) -> ClientId {
    ClientId([number; 16])
}

/// Three publications for a minute; the position for half an hour.
pub(super) fn namespace(name: &str) -> Namespace {
    Namespace {
        name: name.to_owned(),
        history_size: 3,
        history_ttl_ms: 60_000,
        history_meta_ttl_ms: 1_800_000,
        ..Namespace::default()
    }
}

fn settings() -> Settings {
    let bare = |name: &str| Namespace { name: name.to_owned(), ..Namespace::default() };
    Settings {
        namespaces: vec![
            namespace("chat"),
            Namespace { join_leave: true, ..bare("loud") },
            Namespace { presence: true, ..bare("quiet") },
            Namespace { presence: true, join_leave: true, ..bare("room") },
        ],
        ..Settings::default()
    }
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        let settings = settings();
        Self {
            broker: Broker::new(settings.clone(), limits, 1),
            settings,
            now: Duration::ZERO,
            ready: Vec::new(),
            closing: Vec::new(),
            asked: BTreeMap::new(),
            unread: BTreeMap::new(),
            requests: 0,
        }
    }

    pub(super) fn configure(&mut self) {
        self.broker.configure(self.settings.clone());
    }

    pub(super) fn open(&mut self, link: LinkId) {
        self.broker.link_opened(link);
    }

    pub(super) fn close(&mut self, link: LinkId) {
        self.broker.link_closed(self.now, link);
        self.asked.retain(|_, asker| *asker != link);
    }

    pub(super) fn send(&mut self, link: LinkId, message: &ToRelay<'_>) {
        self.broker.receive(self.now, link, message);
        self.note();
    }

    fn note(&mut self) {
        while let Some(event) = self.broker.event() {
            match event {
                Event::Ready(link) => self.ready.push(link),
                Event::Close(link) => self.closing.push(link),
            }
        }
    }

    /// Sends a question; its answer comes with [`World::take`].
    pub(super) fn ask<'a>(&mut self, link: LinkId, question: impl FnOnce(u32) -> ToRelay<'a>) -> u32 {
        self.requests += 1;
        self.asked.insert(self.requests, link);
        self.broker.receive(self.now, link, &question(self.requests));
        self.note();
        self.requests
    }

    /// Sends a question and takes its answer from among what has come.
    fn answer<'a>(&mut self, link: LinkId, question: impl FnOnce(u32) -> ToRelay<'a>) -> Seen {
        let request = self.ask(link, question);
        self.read(link);
        let unread = self.unread.entry(link).or_default();
        let place = unread.iter().position(|(answered, _)| *answered == Some(request));
        unread.remove(place.expect("every question is answered")).1
    }

    /// Reads frames until the link has no more.
    fn read(&mut self, link: LinkId) {
        let mut out = Vec::new();
        while self.broker.transmit(link, &mut out) == Transmit::Write {
            let mut rest = &out[..];
            while let Some((body, after)) = frame::split(rest).unwrap() {
                let (request, seen) = read_message(&frame::decode(body).unwrap());
                if let Some(request) = request {
                    assert_eq!(self.asked.remove(&request), Some(link), "answered once, where it was asked");
                }
                self.unread.entry(link).or_default().push((request, seen));
                rest = after;
            }
            assert!(rest.is_empty(), "whole frames only");
        }
    }

    pub(super) fn subscribe(&mut self, link: LinkId, channel: &str, recover: Option<(u64, &str)>) -> Seen {
        let recover = recover.map(|(offset, epoch)| Position { offset, epoch });
        self.answer(link, |request| ToRelay::Subscribe { request, channel, recover, latest: false })
    }

    /// Subscribes to a cache: the last publication is enough.
    pub(super) fn subscribe_latest(&mut self, link: LinkId, channel: &str, at: (u64, &str)) -> Seen {
        let recover = Some(Position { offset: at.0, epoch: at.1 });
        self.answer(link, |request| ToRelay::Subscribe { request, channel, recover, latest: true })
    }

    pub(super) fn epoch(&mut self, link: LinkId, channel: &str) -> String {
        match self.answer(link, |request| ToRelay::Subscribe {
            request,
            channel,
            recover: None,
            latest: false,
        }) {
            Seen::Subscribed { epoch, .. } => {
                self.broker.receive(self.now, link, &ToRelay::Unsubscribe { channel });
                epoch
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn publish(&mut self, link: LinkId, channel: &str, data: &str) -> Seen {
        self.publish_once(link, channel, data, "")
    }

    /// Publishes with an idempotency key.
    pub(super) fn publish_once(&mut self, link: LinkId, channel: &str, data: &str, key: &str) -> Seen {
        let (data, tags) = (data.as_bytes(), Tags::NONE);
        self.answer(link, |request| ToRelay::Publish {
            request,
            channel,
            data,
            info: None,
            tags,
            key,
            skip_history: false,
            delta: false,
        })
    }

    pub(super) fn history(
        &mut self,
        link: LinkId,
        channel: &str,
        since: Option<(u64, &str)>,
        limit: i32,
        reverse: bool,
    ) -> Seen {
        let since = since.map(|(offset, epoch)| Position { offset, epoch });
        self.answer(link, |request| ToRelay::History { request, channel, since, limit, reverse })
    }

    pub(super) fn presence(&mut self, link: LinkId, channel: &str) -> Seen {
        self.answer(link, |request| ToRelay::Presence { request, channel })
    }

    pub(super) fn presence_stats(&mut self, link: LinkId, channel: &str) -> Seen {
        self.answer(link, |request| ToRelay::PresenceStats { request, channel })
    }

    pub(super) fn enter(&mut self, link: LinkId, channel: &str, number: u8, user: &str) {
        let info = ClientInfo { client: client(number), user, conn_info: b"", chan_info: b"" };
        let options = settings().namespace(channel).cloned().unwrap_or_default();
        let (presence, announced) = (options.presence, options.join_leave);
        self.send(link, &ToRelay::Enter { channel, presence, announced, info });
    }

    pub(super) fn arrive(&mut self, link: LinkId, session: u64, user: &str) -> Seen {
        self.answer(link, |request| ToRelay::Arrive { request: Some(request), session, user })
    }

    /// Another configuration.
    pub(super) fn configure_with(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = settings();
        change(&mut settings);
        self.broker.configure(settings);
    }

    /// Lets time pass, with a sweep over all channels after it.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.broker.expire(self.now);
        self.broker.expire(self.now);
        self.note();
    }

    /// Everything that has come for a link and was not yet taken.
    pub(super) fn take(&mut self, link: LinkId) -> Vec<Seen> {
        self.take_answers(link).into_iter().map(|(_, seen)| seen).collect()
    }

    /// The same, with the questions that were answered.
    pub(super) fn take_answers(&mut self, link: LinkId) -> Vec<(Option<u32>, Seen)> {
        self.read(link);
        self.unread.remove(&link).unwrap_or_default()
    }

    /// Questions of links that are open and that were not answered, once everything was read.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.len()
    }
}

fn read_message(message: &ToShard<'_>) -> (Option<u32>, Seen) {
    match message {
        ToShard::Verified { request, .. } | ToShard::Proxied { request, .. } => {
            panic!("{request}: neither tokens nor backends are known here")
        }
        ToShard::Subscribed { request, offset, epoch, recovered, publications } => {
            let (epoch, publications) = ((*epoch).to_owned(), texts(publications));
            (Some(*request), Seen::Subscribed { offset: *offset, epoch, recovered: *recovered, publications })
        }
        ToShard::Admitted { request } => (Some(*request), Seen::Admitted),
        ToShard::Disconnect { session, .. } => (None, Seen::Disconnect { session: *session }),
        ToShard::Published { request, offset, duplicate: false, .. } => {
            (Some(*request), Seen::Published { offset: *offset })
        }
        ToShard::Published { request, offset, .. } => (Some(*request), Seen::Duplicate { offset: *offset }),
        ToShard::History { request, offset, publications, .. } => {
            (Some(*request), Seen::History { offset: *offset, publications: texts(publications) })
        }
        ToShard::Presence { request, members } => {
            (Some(*request), Seen::Presence(members.iter().map(|member| member.client).collect()))
        }
        ToShard::PresenceStats { request, clients, users } => {
            (Some(*request), Seen::PresenceStats { clients: *clients, users: *users })
        }
        ToShard::Failed { request, code } => (Some(*request), Seen::Failed { code: *code }),
        ToShard::Publication { channel, publication } => {
            let (offset, data) = text(publication);
            (None, Seen::Publication { channel: (*channel).to_owned(), offset, data })
        }
        ToShard::Join { info, .. } => (None, Seen::Join(info.client)),
        ToShard::Leave { info, .. } => (None, Seen::Leave(info.client)),
        ToShard::Insufficient { channel } => (None, Seen::Insufficient((*channel).to_owned())),
        ToShard::Emulate { asker, request, data, .. } => {
            let data = String::from_utf8(data.to_vec()).unwrap();
            (None, Seen::Emulate { asker: *asker, request: *request, data })
        }
        ToShard::Emulated { request, found } => (Some(*request), Seen::Emulated { found: *found }),
        ToShard::Done { request } => (Some(*request), Seen::Done),
        ToShard::Survey { number, question } => {
            (None, Seen::Survey { number: *number, question: (**question).clone() })
        }
        ToShard::Surveyed { request, answer } => (Some(*request), Seen::Surveyed((**answer).clone())),
    }
}

fn texts(publications: &[Publication<'_>]) -> Vec<(u64, String)> {
    publications.iter().map(text).collect()
}

fn text(publication: &Publication<'_>) -> (u64, String) {
    (publication.offset, String::from_utf8(publication.data.to_vec()).unwrap())
}
