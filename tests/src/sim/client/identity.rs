//! Who a client is: the tokens it shows, the channels they bring it, when they expire, and how it is let go.

use std::time::Duration;

use protocol::client::{
    command::{Connect, Request, Resume, SubRefresh, Subscribe},
    encoding::Encoding,
    received::{Answer, Session},
};
use serde_json::{Value, json};

use super::{Asked, Channel, Client, EXPIRED_GRACE_S, Phase, Surroundings, ways::Way};
use crate::sim::{
    plant::Plant,
    random::Random,
    token,
    view::{EXPIRED_SUB_GRACE_S, Entry, LEAST, Manner, Stand},
};

/// Only publications whose tag is at least [`LEAST`], as JSON clients write it.
const FILTER: &str = r#"{"key":"n","cmp":"gte","val":"4"}"#;
/// The same in Protobuf: key, cmp, val.
const FILTER_PROTOBUF: &[u8] = b"\x12\x01n\x1a\x03gte\x22\x014";
/// How late an end may be noticed when nothing is wrong, and when much is.
const LATE: Duration = Duration::from_secs(5);
const VERY_LATE: Duration = Duration::from_secs(20);

/// The wall clock, if it is to be trusted.
pub(super) fn unix(now: Duration, around: &Surroundings) -> Option<u64> {
    (around.plan.rates.wall == 0).then(|| clock(now, around))
}

fn clock(now: Duration, around: &Surroundings) -> u64 {
    around.kernel.borrow().unix + now.as_secs()
}

/// The channels that a user's tokens name.
pub(super) fn granted(user: Option<&str>, around: &Surroundings, random: &mut Random) -> Vec<(usize, Value)> {
    if !around.plan.features.server_side || user.is_none() || random.chance(300) {
        return Vec::new();
    }
    let overridden = random.chance(400);
    let mut granted = Vec::new();
    for (at, channel) in around.channels.iter().enumerate() {
        if channel.owner.is_none() && random.chance(300) {
            let value = |is: bool| json!({ "value": is });
            let options = match (overridden, channel.optional, channel.presence) {
                (true, true, _) => {
                    json!({ "force_recovery": value(true), "force_positioning": value(true) })
                }
                (true, _, true) => json!({ "presence": value(false) }),
                (true, ..) => json!({}),
                (false, ..) => Value::Null,
            };
            granted.push((at, options));
        }
    }
    granted
}

/// How a client comes into a channel.
pub(super) fn entry(at: usize, channel: &Channel, user: Option<&str>, granted: &[(usize, Value)]) -> Entry {
    let own = channel.owner.is_some() && channel.owner.as_deref() == user;
    if own || granted.iter().any(|(other, _)| *other == at) {
        Entry::Server
    } else if channel.owner.is_some() {
        Entry::Barred
    } else if channel.private {
        Entry::Token
    } else {
        Entry::Free
    }
}

impl Client {
    /// Who it is, if anybody.
    pub(in crate::sim) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Its user has as many connections as one may have, without this one.
    pub(super) fn stays_away(&self, around: &Surroundings) -> bool {
        let count = self.user.as_ref().and_then(|user| around.sessions.get(user)).copied().unwrap_or(0);
        self.turned_away && self.line.is_none() && count >= around.plan.features.user_limit as usize
    }

    pub(super) fn connect(&mut self, now: Duration, around: &Surroundings) {
        self.expire_at = None;
        self.commands = (now, 0);
        let mut token = String::new();
        if let Some(user) = self.user.clone() {
            self.expire_at = self.expiry(now, around, 100);
            token = token::connection(&user, self.expire_at, &self.subs(around));
        }
        let mut subs = Vec::new();
        for view in self.views.iter_mut().filter(|view| view.entry == Entry::Server) {
            let was = view.position.clone().filter(|_| !self.random.chance(100));
            if let Some((epoch, offset)) = &was {
                let channel = around.channels[view.channel].name.clone().into();
                subs.push(Resume { channel, recover: true, offset: *offset, epoch: epoch.clone().into() });
            }
            view.stand = Stand::Asking(was);
            view.manner = Manner::default();
        }
        if self.way == Way::Uni {
            // It is told without being asked.
            self.pending.insert(0, Asked::Connect);
        }
        let connect = Connect { token: token.into(), subs, ..Connect::default() };
        if self.way == Way::Uni {
            return self.command(1, Request::Connect(connect));
        }
        self.ask(Asked::Connect, Request::Connect(connect));
        if self.random.chance(300) {
            // Some do not wait for the answer.
            let view = self.random.index(self.views.len());
            if self.views[view].wanted {
                self.subscribe(now, around, view);
            }
        }
    }

    /// The channels that its tokens name.
    fn subs(&self, around: &Surroundings) -> Vec<(String, Value)> {
        let name = |at: usize| around.channels[at].name.clone();
        self.granted.iter().map(|(at, options)| (name(*at), options.clone())).collect()
    }

    /// When a new token expires: soon, later or never.
    fn expiry(&mut self, now: Duration, around: &Surroundings, otherwise: u64) -> Option<u64> {
        if around.phase != Phase::Busy {
            return None;
        }
        let soon = self.random.chance(around.plan.features.expiry);
        let at = if soon { self.random.between(1, 4) } else { self.random.between(5, 60) };
        (soon || self.random.chance(otherwise)).then(|| clock(now, around) + at)
    }

    /// A session comes with all of its channels, and only with them.
    pub(super) fn session_began(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        session: &Session<'_>,
    ) -> Result<(), String> {
        if session.expires != self.expire_at.is_some() {
            return Err(format!("expires: {}, though its token says {:?}", session.expires, self.expire_at));
        }
        for sub in &session.subs {
            let called = |channel: &Channel| channel.name == sub.channel;
            let channel = around.channels.iter().position(called);
            let channel = channel.filter(|at| self.views[*at].entry == Entry::Server);
            let channel = channel.ok_or_else(|| format!("subscribed to {}", sub.channel))?;
            self.views[channel]
                .subscribed(now, sub, self.encoding == Encoding::Json, &mut around.ledger)
                .map_err(|crime| format!("in {}: {crime}", sub.channel))?;
        }
        let missing = |view: &&super::View| view.entry == Entry::Server && view.stand != Stand::On;
        match self.views.iter().find(missing) {
            Some(view) => Err(format!("a session without {}", around.channels[view.channel].name)),
            None => Ok(()),
        }
    }

    pub(super) fn subscribe(&mut self, now: Duration, around: &Surroundings, channel: usize) {
        let view = &self.views[channel];
        if !matches!(view.stand, Stand::Off(_)) || matches!(view.entry, Entry::Server | Entry::Barred) {
            return;
        }
        let (entry, position) = (view.entry, view.position.clone());
        let kind = &around.channels[channel];
        let manner = Manner {
            delta: kind.delta && self.random.chance(600),
            filtered: kind.tags && self.random.chance(600),
            numbered: around.plan.features.numbers && self.random.chance(500),
            rejects: self.random.chance(200),
        };
        // What a filter kept back is missed by nobody but who does without it from then on.
        let fitting = manner.filtered || !self.views[channel].manner.filtered;
        let recover = position.filter(|_| fitting && !self.random.chance(100));
        if !fitting {
            self.views[channel].position = None;
        }
        let positioned = !kind.optional || recover.is_some() || self.random.chance(500);
        let mut token = String::new();
        let mut expiry = None;
        if entry == Entry::Token {
            expiry = self.expiry(now, around, 100);
            token = token::subscription(self.user.as_deref().unwrap_or_default(), &kind.name, expiry);
        }
        let filter = if self.encoding == Encoding::Json { FILTER.as_bytes() } else { FILTER_PROTOBUF };
        debug_assert!(FILTER.contains(&LEAST.to_string()));
        let asked = Subscribe {
            channel: kind.name.clone().into(),
            token: token.into(),
            recover: recover.is_some(),
            epoch: recover.as_ref().map(|(epoch, _)| epoch.clone()).unwrap_or_default().into(),
            offset: recover.as_ref().map_or(0, |(_, offset)| *offset),
            positioned: kind.optional && positioned,
            recoverable: kind.optional && positioned,
            delta: if manner.delta { "fossil" } else { "" }.into(),
            filter: if manner.filtered && around.plant != Plant::IgnoredFilter { filter } else { &[] },
            flag: (i64::from(manner.numbered) * Subscribe::CHANNEL_COMPACTION)
                | (i64::from(manner.rejects) * Subscribe::REJECT_UNRECOVERED),
            ..Subscribe::default()
        };
        let view = &mut self.views[channel];
        view.manner = Manner { numbered: manner.numbered && kind.numbered(), ..manner };
        view.expire_at = expiry;
        view.stand = Stand::Asking(recover);
        self.ask(Asked::Subscribe(channel), Request::Subscribe(asked));
    }

    /// A new token of its own; now and then one for other channels, which ends the session.
    pub(super) fn refresh(&mut self, now: Duration, around: &Surroundings) {
        let Some(user) = self.user.clone() else { return };
        let expiry = self.expiry(now, around, 500);
        let mut subs = self.subs(around);
        let other = !subs.is_empty() && self.random.chance(100);
        if other {
            subs.pop();
        }
        let token = token::connection(&user, expiry, &subs).into();
        self.ask(Asked::Refresh { expiry, other }, Request::Refresh { token });
    }

    pub(super) fn sub_refresh(&mut self, now: Duration, around: &Surroundings, channel: usize) {
        if self.views[channel].entry != Entry::Token || self.views[channel].stand != Stand::On {
            return;
        }
        let expiry = self.expiry(now, around, 500);
        let name = &around.channels[channel].name;
        let token = token::subscription(self.user.as_deref().unwrap_or_default(), name, expiry).into();
        let refresh = SubRefresh { channel: name.clone().into(), token };
        self.ask(Asked::SubRefresh(channel, expiry), Request::SubRefresh(refresh));
    }

    /// Whether it may be sent away with this code, though it kept to the protocol.
    pub(super) fn is_fair(&self, now: Duration, around: &Surroundings, code: u16) -> bool {
        let due = |at: u64| unix(now, around).is_none_or(|unix| unix >= at + EXPIRED_GRACE_S);
        match code {
            // What others are told by an error.
            3004 | 3005 if self.way == Way::Uni && !self.ready => true,
            3005 => self.expire_at.is_some_and(due),
            3509 => self.meter.is_exhausted(),
            3010 => self.views.iter().any(|view| view.entry == Entry::Server),
            // Commands that come faster than the one that waits for the relay.
            3013 => self.way.is_emulated(),
            3504 => self.user.is_some() && around.plan.features.user_limit > 0,
            _ => false,
        }
    }

    /// No more commands are run than the rate allows, and no fewer.
    pub(super) fn count_command(
        &mut self,
        now: Duration,
        around: &Surroundings,
        (id, asked): (u32, Asked),
        answer: &Answer<'_>,
    ) -> Result<(), String> {
        let (since, count) = &mut self.commands;
        let refused = matches!(answer, Answer::Error(failure) if failure.code == 111);
        *count += u32::from(asked != Asked::Connect && !refused);
        if asked != Asked::Connect {
            let kept = self.meter.answered(now, id, refused);
            // A relay that does not keep up is a reason of its own.
            if around.plan.rates.relay_slow == 0 {
                kept?;
            }
        }
        let rate = u128::from(around.plan.commands);
        let most = rate + rate * now.saturating_sub(*since).as_millis() / 1000;
        if rate > 0 && u128::from(*count) > most {
            return Err(format!("{count} commands were run, {most} are allowed"));
        }
        Ok(())
    }

    /// What has expired has ended by the end of its grace.
    pub(super) fn check_expiry(&self, now: Duration, around: &Surroundings) -> Result<(), String> {
        let wall = around.plan.rates.wall > 0;
        if !self.ready || self.excused || self.closed || wall || around.phase == Phase::Draining {
            return Ok(());
        }
        let base = around.kernel.borrow().unix;
        let over = |at: u64, grace_s: u64| {
            let end = Duration::from_secs((at + grace_s + 1).saturating_sub(base));
            let calm = around.calm_at.map_or(end + VERY_LATE, |calm| end.max(calm) + LATE);
            now > calm.min(end + VERY_LATE)
        };
        if self.expire_at.is_some_and(|at| over(at, EXPIRED_GRACE_S)) {
            return Err(format!("the session of client {} outlives its token", self.number));
        }
        let expired = |view: &&super::View| view.expire_at.is_some_and(|at| over(at, EXPIRED_SUB_GRACE_S));
        match self.views.iter().filter(|view| view.stand == Stand::On).find(expired) {
            Some(view) => Err(format!(
                "the subscription of client {} to {} outlives its token",
                self.number, around.channels[view.channel].name
            )),
            None => Ok(()),
        }
    }
}
