//! What a client makes of what it is told: answers to its commands, pushes, the word before the end.

use std::time::Duration;

use protocol::client::{
    command::Request,
    encoding::Encoding,
    received::{Answer, Ended, Event, Received},
};

use super::{Asked, Client, POLL_REST, Placed, Surroundings, identity::unix, ways::Way};
use crate::sim::view::{Stand, View};

impl Client {
    pub(super) fn told(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        word: Received<'_>,
    ) -> Result<(), String> {
        match word {
            Received::Ping => {
                if !self.manner.mute && self.way != Way::Uni {
                    self.command(0, Request::Pong);
                }
                Ok(())
            }
            Received::Push { event: Event::Disconnect(ended), .. } => self.sent_away(now, around, &ended),
            Received::Push { channel, number, event } => self.pushed(now, around, &channel, number, &event),
            Received::Reply { id, answer } => {
                let asked =
                    self.pending.remove(&id).ok_or_else(|| format!("a reply to {id}, which nobody asked"))?;
                around.trace.note("reply", self.number as u64, u64::from(id));
                self.count_command(now, around, (id, asked), &answer)?;
                self.answered(now, around, asked, &answer)
            }
        }
    }

    /// The word before the end, where there is no close frame or nobody sees it.
    fn sent_away(&mut self, now: Duration, around: &Surroundings, ended: &Ended<'_>) -> Result<(), String> {
        match self.way {
            Way::Socket { .. } => Err("told to disconnect, where there are close frames".to_owned()),
            Way::Uni => Ok(()),
            Way::Stream | Way::Sse | Way::Poll => {
                self.told_to_close(now, around, u16::try_from(ended.code).ok())
            }
        }
    }

    fn pushed(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        name: &str,
        shorthand: u32,
        event: &Event<'_>,
    ) -> Result<(), String> {
        let called = |view: &View| match shorthand {
            0 => around.channels[view.channel].name == name,
            _ => view.number == shorthand && matches!(view.stand, Stand::On | Stand::Leaving),
        };
        let number = self.views.iter().position(called);
        let number = number.ok_or_else(|| format!("a push in {name:?}, number {shorthand}"))?;
        let channel = &around.channels[number].name;
        let (json, unix) = (self.encoding == Encoding::Json, unix(now, around));
        let view = &mut self.views[number];
        let plainly = matches!(event, Event::Unsubscribe(_));
        if !plainly && shorthand != view.number {
            return Err(format!("a push in {channel} with number {shorthand}, not {}", view.number));
        }
        match event {
            Event::Publication(message) => {
                around.trace.note("publication", self.number as u64, message.offset);
                view.published(message, json, &mut around.ledger)
            }
            Event::Unsubscribe(ended) => {
                around.trace.note("unsubscribed", self.number as u64, u64::from(ended.code));
                view.ended(ended.code, now, unix)
            }
            Event::Join(_) | Event::Leave(_) => {
                let there = matches!(view.stand, Stand::On | Stand::Leaving);
                let may = there && around.channels[number].presence && self.way != Way::Poll;
                if may { Ok(()) } else { Err(format!("{event:?} in {channel} while {:?}", view.stand)) }
            }
            _ => Err(format!("{event:?}")),
        }
        .map_err(|crime| format!("in {channel}: {crime}"))
    }

    fn answered(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        asked: Asked,
        answer: &Answer<'_>,
    ) -> Result<(), String> {
        match (asked, answer) {
            (Asked::Connect, Answer::Connect(session)) => {
                self.ready = true;
                self.turned_away = false;
                self.session = session.client.clone().into_owned();
                if session.session.is_empty() == self.way.is_emulated() {
                    return Err(format!("its session is named {:?}", session.session));
                }
                self.post.name(&session.session, &session.node);
                around.trace.note("session", self.number as u64, session.subs.len() as u64);
                self.session_began(now, around, session)
            }
            (Asked::Connect, Answer::Error(failure)) if matches!(failure.code, 100 | 109 | 111) => {
                self.leave(around, 0);
                Ok(())
            }
            (Asked::Subscribe(channel) | Asked::Unsubscribe(channel), _) => {
                self.entry_answered(now, around, (asked, channel), answer)
            }
            (Asked::Publish(serial), Answer::Publish) => {
                around.ledger.acknowledge(serial);
                Ok(())
            }
            (Asked::Publish(serial), Answer::Rpc { data }) => {
                let place: Placed<'_> = serde_json::from_slice(data).map_err(|error| error.to_string())?;
                around.ledger.acknowledge(serial);
                around.ledger.placed(serial, place.epoch, place.offset)
            }
            (Asked::History(channel), Answer::History(page)) => {
                let mut last = None;
                for message in &page.publications {
                    around.ledger.heard(channel, &page.epoch, message)?;
                    if last.is_some_and(|last| message.offset != last + 1) {
                        return Err(format!("history has {} after {last:?}", message.offset));
                    }
                    last = Some(message.offset);
                }
                Ok(())
            }
            (Asked::Presence, Answer::Presence(_) | Answer::PresenceStats(_)) => Ok(()),
            (Asked::Refresh { expiry, other: false }, Answer::Refresh(refreshed))
                if refreshed.expires == expiry.is_some() =>
            {
                self.expire_at = expiry;
                Ok(())
            }
            (Asked::SubRefresh(channel, expiry), Answer::SubRefresh(refreshed))
                if refreshed.expires == expiry.is_some() =>
            {
                self.views[channel].expire_at = expiry;
                Ok(())
            }
            (Asked::SubRefresh(channel, _), Answer::Error(failure)) if failure.code == 103 => {
                let there = self.views[channel].stand == Stand::On;
                if there { Err("no subscription to refresh, though there is one".to_owned()) } else { Ok(()) }
            }
            (Asked::Rpc, Answer::Error(failure)) if matches!(failure.code, 108 | 111) => Ok(()),
            (Asked::History(_), Answer::Error(failure)) if failure.code == 112 => Ok(()),
            (Asked::Refresh { .. } | Asked::SubRefresh(..), Answer::Error(failure))
                if failure.code == 110 =>
            {
                Ok(())
            }
            (
                Asked::Publish(_)
                | Asked::Presence
                | Asked::History(_)
                | Asked::Refresh { .. }
                | Asked::SubRefresh(..),
                Answer::Error(failure),
            ) if matches!(failure.code, 100 | 111) => Ok(()),
            _ => Err(format!("{asked:?} is answered with {answer:?}")),
        }
    }

    /// The answer to a wish to be in a channel, or out of it.
    fn entry_answered(
        &mut self,
        now: Duration,
        around: &mut Surroundings,
        (asked, channel): (Asked, usize),
        answer: &Answer<'_>,
    ) -> Result<(), String> {
        // Where commands have a rate, whoever is refused does not insist.
        let longest = if around.plan.commands > 0 { 2000 } else { 300 };
        let later = now + Duration::from_millis(self.random.between(20, longest));
        match (asked, answer) {
            (Asked::Subscribe(_), Answer::Subscribe(reply)) => {
                let view = &mut self.views[channel];
                around.trace.note("subscribed", self.number as u64, reply.offset);
                view.subscribed(now, reply, self.encoding == Encoding::Json, &mut around.ledger)
                    .map_err(|crime| format!("in {}: {crime}", around.channels[channel].name))
            }
            (Asked::Subscribe(_), Answer::Error(failure)) if failure.code == 112 => {
                let view = &mut self.views[channel];
                let asked = std::mem::replace(&mut view.stand, Stand::Off(later));
                let lost = view.position.take();
                let fair = view.manner.rejects && lost.is_some() && matches!(asked, Stand::Asking(Some(_)));
                if fair { Ok(()) } else { Err(format!("not recovered, though {asked:?}")) }
            }
            (Asked::Unsubscribe(_), Answer::Error(failure)) if failure.code == 111 => {
                let view = &mut self.views[channel];
                view.wanted = true;
                view.stand = if view.over { Stand::Off(later) } else { Stand::On };
                Ok(())
            }
            (Asked::Subscribe(_), Answer::Error(failure)) if failure.code == 111 && self.way == Way::Poll => {
                // The next one asks for all of them again.
                self.exchange.poll_at = later + POLL_REST;
                Ok(())
            }
            (Asked::Subscribe(_), Answer::Error(failure))
                if matches!(failure.code, 100 | 111)
                    || failure.code == 109 && self.views[channel].expire_at.is_some() =>
            {
                self.views[channel].stand = Stand::Off(later);
                Ok(())
            }
            (Asked::Unsubscribe(_), Answer::Unsubscribe) => {
                self.views[channel].stand = Stand::Off(later);
                Ok(())
            }
            _ => Err(format!("{asked:?} is answered with {answer:?}")),
        }
    }
}
