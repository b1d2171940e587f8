//! Channels whose streams nodes keep: what goes to the nodes, and what they have stored on its way to links.
//!
//! Owns which channels these are. How a stream is followed is the same as on a shared bus.

use std::sync::Arc;
use std::time::Duration;

use wire::bus as words;
use wire::code::{self, ErrorCode};
use wire::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use wire::link::{ClientInfo, ToShard};
use wire::settings::Delivery;
use wire::survey::{Act, Command};

use super::Broker;
use super::deliver::Publishing;
use crate::LinkId;
use crate::bus::Ask;
use crate::limits::{MOVES_MAX, PUBLICATION_BYTES_MAX};
use crate::remote::Pending;
use crate::store;

/// What a node has decided anew, as the server API heard of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Move {
    /// Whether a user is in a channel.
    Of {
        /// Who.
        user: Box<str>,
        /// Where; empty: everywhere.
        channel: Box<str>,
    },
    /// More than could be remembered.
    Any,
}

impl Broker {
    /// What nodes are to do next. Ask after each of the verbs until `None`.
    pub fn ask_store(&mut self) -> Option<store::Ask> {
        self.remote.as_mut()?.take_store()
    }

    /// Commands that moved a user into a channel or out of one, on whatever edge they were given. Ask after each of the verbs until `None`,
    /// before anything is transmitted.
    pub fn moved(&mut self) -> Option<Move> {
        self.moves.pop_front()
    }

    /// Whether edges share a bus.
    pub(super) fn is_shared(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.shared)
    }

    /// Whether the channel's stream is a mirror here.
    pub(super) fn follows(&self, channel: &str) -> bool {
        self.is_shared() || self.is_stored(channel)
    }

    /// Whether the channel's stream is in a node's store.
    pub(super) fn is_stored(&self, channel: &str) -> bool {
        self.remote.is_some() && self.delivery(channel) == Delivery::Persist
    }

    fn delivery(&self, channel: &str) -> Delivery {
        self.settings.namespace(channel).map_or(Delivery::Transient, |namespace| namespace.delivery)
    }

    /// Whether a publication is for a node to make: those of clients where a node stores. What nodes themselves publish by the server API
    /// goes to the bus; there is no way around the store.
    pub(super) fn publishes_by_node(&self, link: LinkId, channel: &str) -> Result<bool, ErrorCode> {
        match (self.delivery(channel), self.is_own(link)) {
            (Delivery::Transient, _) | (Delivery::Fast, true) => Ok(false),
            (Delivery::Persist, true) => Err(code::NOT_AVAILABLE),
            (Delivery::Persist | Delivery::Fast, false) => Ok(true),
        }
    }

    pub(super) fn publish_stored(
        &mut self,
        now: Duration,
        link: LinkId,
        request: u32,
        wanted: &Publishing<'_>,
    ) {
        let user = wanted.publication.info.map(|ClientInfo { user, .. }| user).unwrap_or_default();
        let sound = match self.admit(wanted.channel) {
            Err(error) => Err(error),
            Ok(_) if user.is_empty() => Err(code::PERMISSION_DENIED),
            Ok(_) if wanted.key.len() > IDEMPOTENCY_KEY_BYTES_MAX => Err(code::BAD_REQUEST),
            Ok(_) if wanted.publication.data.len() > PUBLICATION_BYTES_MAX => Err(code::LIMIT_EXCEEDED),
            Ok(_) => Ok(()),
        };
        if let Err(error) = sound {
            return self.fail(link, request, error);
        }
        let (channel, user, key) = (Arc::from(wanted.channel), Box::from(user), Box::from(wanted.key));
        let data = wanted.publication.data.to_vec();
        let ask = |ticket| store::Ask::Publish { ticket, channel, user, data, key };
        self.question(now, (link, request), Pending::Publish { link, request }, ask);
    }

    /// A node has stored a publication: it goes to every edge by way of the bus, or, where there is no other edge, at once.
    pub(super) fn announce_stored(
        &mut self,
        now: Duration,
        (link, request): (LinkId, u32),
        channel: &str,
        (offset, epoch): (u64, &str),
        body: &[u8],
    ) {
        let sound = match self.admit(channel) {
            Err(error) => Err(error),
            Ok(_) if !self.is_stored(channel) => Err(code::NOT_AVAILABLE),
            Ok(_) if offset == 0 || crate::Epoch::parse(epoch).is_none() => Err(code::BAD_REQUEST),
            Ok(_) if body.len() + channel.len() + 64 > PUBLICATION_BYTES_MAX => Err(code::LIMIT_EXCEEDED),
            Ok(_) => Ok(()),
        };
        if let Err(error) = sound {
            return self.fail(link, request, error);
        }
        if !self.is_shared() {
            self.heard(now, channel, (offset, epoch), body);
            self.pump(now);
            return self
                .queue_message(link, &ToShard::Published { request, offset, epoch, duplicate: false });
        }
        let Ok(body) = words::announcement(epoch, offset, body) else {
            return self.fail(link, request, code::LIMIT_EXCEEDED);
        };
        let channel = channel.into();
        let ask = |ticket| Ask::Publish { ticket, channel, body, key: Box::default(), kept: None };
        self.question(now, (link, request), Pending::Publish { link, request }, ask);
    }

    /// A publication as the bus brought it: that of a stored channel carries its place inside.
    pub(super) fn heard_on_bus(
        &mut self,
        now: Duration,
        channel: &str,
        (offset, epoch): (u64, &str),
        body: &[u8],
    ) {
        if !self.is_stored(channel) {
            return self.heard(now, channel, (offset, epoch), body);
        }
        match words::announced(body) {
            Some((epoch, offset, body)) => self.heard(now, channel, (offset, epoch), body),
            None => self.counters.words_unheard += 1,
        }
    }

    /// Remembers what a command changes about who is where, until the shell has asked.
    pub(super) fn note_move(&mut self, command: &Command) {
        let channel = match &command.act {
            Act::Subscribe(wanted) => &wanted.channel,
            Act::Unsubscribe { channel, .. } => channel,
            Act::Disconnect { .. } | Act::Refresh { .. } => return,
        };
        if self.moves.len() >= MOVES_MAX {
            self.moves.clear();
            self.moves.push_back(Move::Any);
        } else if self.moves.back() != Some(&Move::Any) {
            let (user, channel) = (command.user.as_str().into(), channel.as_str().into());
            self.moves.push_back(Move::Of { user, channel });
        }
    }
}
