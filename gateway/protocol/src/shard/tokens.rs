//! What tokens say: of connections, of subscriptions, and of both when they are refreshed.
//!
//! Owns the way to a verdict: public keys are here, secrets are the relay's. A command that needs the relay's word waits for it, with
//! all behind it, and is then run again; so nothing of it has to be kept but its bytes.

use std::time::Duration;

use wire::{
    code::{self, ErrorCode},
    link::ToRelay,
    token::{Claims, Kind, Sub, Unverified},
};

use super::Shard;
use crate::{
    client::{
        command::SubRefresh,
        reply::{Expiry, Reply},
        token::Refused,
    },
    connection::{Flags, Verified, Word},
    hub::Place,
    limits::UNKNOWN_KEY_MS,
    pending::Question,
    places::{Maker, Refresh, Terms},
    time::Now,
};

/// What is to be thought of a token.
pub(super) enum Verdict {
    /// It is genuine and its time is now.
    Genuine(Claims),
    /// Another of the same issuer would do.
    Expired,
    /// None like it would.
    Invalid,
    /// Nobody can tell now.
    Unknown(ErrorCode),
}

impl Shard {
    /// What a command's token says. `None`: the command waits, or has its error already.
    pub(super) fn verdict(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        kind: Kind,
        token: &str,
    ) -> Option<Verdict> {
        let word = self.connections[index].hot.as_mut().and_then(|hot| hot.word.take());
        if let Some(Word::Token(verified)) = word.map(|word| *word) {
            return Some(told(now, verified));
        }
        let Ok(unverified) = Unverified::parse(token) else { return Some(Verdict::Invalid) };
        let policy = std::sync::Arc::clone(&self.policy);
        let (keys, options) = policy.tokens(kind);
        if !unverified.algorithm.takes_secret() {
            return Some(match keys.verify(&unverified, kind, now.unix) {
                Ok(claims) => Verdict::Genuine(claims),
                Err(refused) if refused.wants_another() => Verdict::Expired,
                Err(Refused::UnknownKey) if options.fetched => {
                    self.tell_unknown_key(now, kind);
                    Verdict::Expired
                }
                Err(_) => Verdict::Invalid,
            });
        }
        if !options.hmac {
            return Some(Verdict::Invalid);
        }
        let message = |request| ToRelay::Verify { request, kind, token };
        if self.ask(now, index, id, Question::Token, message) {
            let connection = &mut self.connections[index];
            connection.flags.set(Flags::PAUSED);
            connection.hot(&mut self.pool).again = true;
        }
        None
    }

    /// The relay's word: the command that waits for it is run again.
    pub(super) fn hear_word(&mut self, now: Now, index: usize, word: Word) {
        let connection = &mut self.connections[index];
        if !connection.is_open() {
            return;
        }
        connection.hot(&mut self.pool).word = Some(Box::new(word));
        self.go_on(now, index);
    }

    /// What waited goes on.
    pub(super) fn go_on(&mut self, now: Now, index: usize) {
        let generation = self.connections[index].generation;
        self.connections[index].flags.clear(Flags::PAUSED);
        self.run_waiting(now, index);
        let present = |c: &crate::connection::Connection| c.generation == generation && c.is_open();
        if self.connections.get(index).is_some_and(present)
            && !self.connections[index].flags.has(Flags::PAUSED)
        {
            self.resume(now, index);
        }
    }

    /// A key may have been added since the relay last looked. Not more often than it can be of use.
    fn tell_unknown_key(&mut self, now: Now, kind: Kind) {
        let told = &mut self.link.unknown_key[kind as usize];
        let due = told.is_none_or(|at| now.at.saturating_sub(at) >= Duration::from_millis(UNKNOWN_KEY_MS));
        if due && self.link.up {
            *told = Some(now.at);
            self.tell(&ToRelay::UnknownKey { kind });
        }
    }

    /// A new connection token. One for other channels ends the session, which begins anew with them.
    pub(super) fn refresh(&mut self, now: Now, index: usize, id: u32, token: &str) {
        if token.is_empty() {
            return self.close(now, index, code::CLOSE_BAD_REQUEST);
        }
        let claims = match self.verdict(now, index, id, Kind::Connection, token) {
            None => return,
            Some(Verdict::Genuine(claims)) => claims,
            Some(Verdict::Expired) => return self.reply_error(now, index, id, code::EXPIRED),
            Some(Verdict::Invalid) => return self.close(now, index, code::INVALID_TOKEN),
            Some(Verdict::Unknown(error)) => return self.reply_error(now, index, id, error),
        };
        if self.connections[index].identity.user() != claims.user {
            return self.close(now, index, code::INVALID_TOKEN);
        }
        if self.other_channels(index, &claims.subs) {
            return self.close(now, index, code::CLOSE_INSUFFICIENT_STATE);
        }
        let policy = std::sync::Arc::clone(&self.policy);
        let expire_at = if policy.settings.client.insecure { 0 } else { claims.expire_at };
        self.connections[index].expire_at = second(expire_at);
        let reply = Reply::Refresh {
            client: self.connections[index].client,
            version: &policy.settings.version,
            expiry: self.expiry(now, index),
        };
        self.schedule(index);
        self.reply(now, index, id, &reply);
    }

    /// A new subscription token.
    pub(super) fn sub_refresh(&mut self, now: Now, index: usize, id: u32, asked: &SubRefresh<'_>) {
        let channel = asked.channel.as_ref();
        let places = &self.connections[index].places;
        let place = self.hub.find(channel).and_then(|known| places.find(known)).filter(|p| p.is_active());
        let Some(Place { channel: known, .. }) = place else {
            return self.reply_error(now, index, id, code::PERMISSION_DENIED);
        };
        let claims = match self.verdict(now, index, id, Kind::Subscription, &asked.token) {
            None => return,
            Some(Verdict::Genuine(claims)) => claims,
            Some(Verdict::Expired) => return self.reply_error(now, index, id, code::EXPIRED),
            Some(Verdict::Invalid) => return self.close(now, index, code::INVALID_TOKEN),
            Some(Verdict::Unknown(error)) => return self.reply_error(now, index, id, error),
        };
        let Some(sub) = self.own(index, channel, &claims) else {
            return self.close(now, index, code::INVALID_TOKEN);
        };
        let entered_as = self.terms_of(index, known);
        let terms = Terms {
            expire_at: second(claims.expire_at),
            info: sub.info.as_slice().into(),
            ..entered_as.clone()
        };
        let renamed = terms.info != entered_as.info;
        self.connections[index].places.set_terms(terms);
        if renamed {
            self.tell_entered(index, known);
        }
        self.schedule(index);
        let told = if entered_as.refresh == Refresh::Client { claims.expire_at } else { 0 };
        self.reply(now, index, id, &Reply::SubRefresh { expiry: remaining(told, now.unix) });
    }

    /// What a subscription token grants, if it is this session's and for this channel.
    pub(super) fn own<'c>(&self, index: usize, channel: &str, claims: &'c Claims) -> Option<&'c Sub> {
        let connection = &self.connections[index];
        let own_session = claims.client.is_empty() || claims.client == connection.client.to_string();
        let own = claims.user == connection.identity.user() && own_session;
        claims.subs.first().filter(|sub| own && sub.channel == channel)
    }

    /// The token that comes with a `subscribe`, and what it grants. `None`: the command waits, or has its answer.
    pub(super) fn subscription_token(
        &mut self,
        now: Now,
        index: usize,
        id: u32,
        channel: &str,
        token: &str,
    ) -> Option<(Sub, u64)> {
        match self.verdict(now, index, id, Kind::Subscription, token)? {
            Verdict::Genuine(claims) => {
                let own = self.own(index, channel, &claims).cloned();
                if own.is_none() {
                    self.close(now, index, code::INVALID_TOKEN);
                }
                return own.map(|sub| (sub, claims.expire_at));
            }
            Verdict::Expired => self.reply_error(now, index, id, code::TOKEN_EXPIRED),
            Verdict::Invalid => self.reply_error(now, index, id, code::PERMISSION_DENIED),
            Verdict::Unknown(error) => self.reply_error(now, index, id, error),
        }
        None
    }

    /// What is particular about a subscription, or what would be.
    pub(super) fn terms_of(&self, index: usize, channel: u32) -> Terms {
        let terms = self.connections[index].places.terms(channel).cloned();
        terms.unwrap_or_else(|| Terms { channel, ..Terms::default() })
    }

    /// What the answer to a subscription says beside the position: when it expires, and data of its token, which is told once.
    pub(super) fn promise(&mut self, now: Now, index: usize, channel: u32) -> (Expiry, Box<[u8]>) {
        let Some(terms) = self.connections[index].places.terms_mut(channel) else { return <_>::default() };
        // What a backend refreshes, no client has to.
        let told = if terms.refresh == Refresh::Client { terms.expire_at } else { 0 };
        (remaining(told.into(), now.unix), std::mem::take(&mut terms.data))
    }

    /// When the session expires, as its client is told.
    pub(super) fn expiry(&self, now: Now, index: usize) -> Expiry {
        let told = if self.policy.settings.backend.refresh { 0 } else { self.connections[index].expire_at };
        remaining(told.into(), now.unix)
    }

    /// Whether a connection token names other channels than the one the session began with.
    fn other_channels(&self, index: usize, subs: &[Sub]) -> bool {
        let places = &self.connections[index].places;
        let subscribed =
            |sub: &Sub| self.hub.find(&sub.channel).is_some_and(|known| places.find(known).is_some());
        let named =
            |terms: &Terms| subs.iter().any(|sub| sub.channel == *self.hub.channel(terms.channel).name);
        let by_token = |terms: &&Terms| terms.maker == Maker::Token;
        !subs.iter().all(subscribed) || !places.all_terms().iter().filter(by_token).all(named)
    }
}

fn told(now: Now, verified: Verified) -> Verdict {
    match verified {
        Ok(claims) if claims.expired(now.unix) => Verdict::Expired,
        Ok(claims) => Verdict::Genuine(claims),
        Err(error) if error == code::TOKEN_EXPIRED => Verdict::Expired,
        Err(error) if error == code::UNAUTHORIZED => Verdict::Invalid,
        Err(error) => Verdict::Unknown(error),
    }
}

/// A time of a token in four bytes, which last until 2106; later is never.
pub(super) fn second(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(0)
}

/// An expiry as clients are told it.
pub(super) fn remaining(expire_at: u64, unix: u64) -> Expiry {
    if expire_at == 0 {
        Expiry::Never
    } else {
        Expiry::Seconds(u32::try_from(expire_at.saturating_sub(unix)).unwrap_or(u32::MAX))
    }
}
