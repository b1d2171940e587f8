//! What users may do in channels, as nodes say, remembered for a bounded time and forgotten as soon as a node says otherwise.
//!
//! Equal questions are one. A right that was taken back while its answer was on the way is asked for again: what is handed on was true
//! after the last word about it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay::{LinkId, Move};
use tokio::sync::watch;
use wire::backend::{Act, Event, Given, Outcome, Refusal};
use wire::code::{self, ErrorCode};
use wire::link::ToShard;
use wire::node::{AskRights, Rights as May};
use wire::token::{Claims, Sub};

use super::{Node, Word};
use crate::limits::{RIGHTS_MAX, RIGHTS_REFUSED_FOR, RIGHTS_TRIES};
use crate::proxy::Proposed;
use crate::state::Relay;

/// Channel and user.
type Key = (Box<str>, Box<str>);

/// What a node said, and the number of that saying.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said {
    may: May,
    ticket: u64,
}

type Verdict = Result<Said, ErrorCode>;

/// See the module.
#[derive(Debug)]
pub(super) struct Rights {
    granted_for: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Key, State>,
    tickets: u64,
    /// When it was last full of what may be forgotten.
    swept: Duration,
}

#[derive(Debug)]
enum State {
    Known {
        said: Said,
        until: Duration,
    },
    /// `spoiled`: what comes is not to be believed.
    Asking {
        verdict: watch::Receiver<Option<Verdict>>,
        spoiled: bool,
    },
}

/// Where somebody who wants to know is sent.
enum Way {
    Known(Said),
    Wait(watch::Receiver<Option<Verdict>>),
    Ask(watch::Sender<Option<Verdict>>),
}

/// What a client does in a channel.
enum Doing {
    Subscribe,
    SubRefresh,
    Publish(Box<Proposed>),
}

impl Rights {
    pub(super) fn new(granted_for: Duration) -> Self {
        Self { granted_for, table: Mutex::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().known.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self, moved: &Move) {
        let mut table = self.lock();
        match moved {
            Move::Of { user, channel } if !channel.is_empty() => {
                if let Entry::Occupied(entry) = table.known.entry((channel.clone(), user.clone())) {
                    match entry.into_mut() {
                        State::Asking { spoiled, .. } => *spoiled = true,
                        State::Known { .. } => {
                            table.known.remove(&(channel.clone(), user.clone()));
                        }
                    }
                }
            }
            Move::Of { user, .. } => table.forget_all(|(_, other)| other == user),
            Move::Any => table.forget_all(|_| true),
        }
    }

    fn look(&self, now: Duration, key: &Key) -> Way {
        let mut table = self.lock();
        match table.known.get(key) {
            Some(State::Known { said, until }) if now < *until => return Way::Known(*said),
            Some(State::Asking { verdict, .. }) => return Way::Wait(verdict.clone()),
            _ => {}
        }
        table.make_room(now);
        let (sender, verdict) = watch::channel(None);
        table.known.insert(key.clone(), State::Asking { verdict, spoiled: false });
        Way::Ask(sender)
    }

    /// Takes a node's word; `None`: it was spoiled on its way.
    fn settle(&self, now: Duration, key: &Key, word: Result<May, ErrorCode>) -> Option<Verdict> {
        let mut table = self.lock();
        let ticket = table.tickets + 1;
        let Some(State::Asking { spoiled, .. }) = table.known.get_mut(key) else {
            debug_assert!(false, "only who asks takes it out");
            return Some(Err(code::INTERNAL));
        };
        if std::mem::take(spoiled) && word.is_ok() {
            return None;
        }
        table.tickets = ticket;
        let verdict = word.map(|may| Said { may, ticket });
        match verdict {
            Ok(said) => {
                let kept = if said.may.subscribe { self.granted_for } else { RIGHTS_REFUSED_FOR };
                table
                    .known
                    .insert(key.clone(), State::Known { said, until: now + kept.min(self.granted_for) });
            }
            Err(_) => {
                table.known.remove(key);
            }
        }
        Some(verdict)
    }

    /// Whether nobody has said anything else since.
    fn holds(&self, key: &Key, said: Said) -> bool {
        matches!(self.lock().known.get(key), Some(State::Known { said: known, .. }) if *known == said)
    }
}

impl Table {
    fn forget_all(&mut self, which: impl Fn(&Key) -> bool) {
        self.known.retain(|key, state| match state {
            State::Known { .. } => !which(key),
            State::Asking { spoiled, .. } => {
                *spoiled |= which(key);
                true
            }
        });
    }

    /// Questions under way are bounded elsewhere and stay.
    fn make_room(&mut self, now: Duration) {
        if self.known.len() < RIGHTS_MAX {
            return;
        }
        if now.saturating_sub(self.swept) >= RIGHTS_REFUSED_FOR {
            self.swept = now;
            self.known.retain(|_, state| !matches!(state, State::Known { until, .. } if *until <= now));
        }
        if self.known.len() >= RIGHTS_MAX {
            let any = self.known.iter().find(|(_, state)| matches!(state, State::Known { .. }));
            if let Some(key) = any.map(|(key, _)| key.clone()) {
                self.known.remove(&key);
            }
        }
    }
}

impl Relay {
    /// Has a node decide on what a client does in a channel. The word is answered when it comes; at once if nobody can be asked now.
    pub(crate) fn ask_node(
        self: &Arc<Self>,
        node: &Arc<Node>,
        link: LinkId,
        request: u32,
        event: &Event<'_>,
    ) {
        let failed = |error: ErrorCode| ToShard::Failed { request, code: error.code };
        let (channel, doing) = match event.act {
            Act::Subscribe { channel, .. } => (channel, Doing::Subscribe),
            Act::SubRefresh { channel } => (channel, Doing::SubRefresh),
            Act::Publish { channel, .. } => match Proposed::of(event) {
                Some(proposed) => (channel, Doing::Publish(Box::new(proposed))),
                None => return self.answer(link, &failed(code::INTERNAL)),
            },
            _ => return self.answer(link, &failed(code::NOT_AVAILABLE)),
        };
        if event.user.is_empty() {
            let outcome = doing.refusal();
            return self.answer(link, &ToShard::Proxied { request, outcome });
        }
        let permit = match node.admit() {
            Ok(permit) => permit,
            Err(error) => return self.answer(link, &failed(error)),
        };
        let key = (Box::from(channel), Box::from(event.user));
        let (relay, node) = (Arc::clone(self), Arc::clone(node));
        tokio::spawn(async move {
            relay.decide_by_node(&node, (link, request), &key, &doing).await;
            drop(permit);
        });
    }

    async fn decide_by_node(&self, node: &Node, (link, request): (LinkId, u32), key: &Key, doing: &Doing) {
        for _ in 0..RIGHTS_TRIES {
            let said = match node.right(self, key).await {
                Ok(said) => said,
                Err(error) => return self.answer(link, &ToShard::Failed { request, code: error.code }),
            };
            if let (Doing::Publish(proposed), true) = (doing, said.may.publish) {
                return self.say(link, &proposed.message(request));
            }
            let outcome = match doing.allowed(said.may) {
                true => self.granted(node, key, doing, said.ticket),
                false => doing.refusal(),
            };
            // Under the lock that words about members take, so that a word which comes after it finds the subscription in the shard.
            let holds = || node.rights.holds(key, said);
            if self.answer_while(link, &ToShard::Proxied { request, outcome }, holds) {
                return;
            }
        }
        self.answer(link, &ToShard::Failed { request, code: code::INTERNAL.code });
    }

    fn granted(&self, node: &Node, (channel, _): &Key, doing: &Doing, ticket: u64) -> Outcome {
        let expire_at = node.until(self.clock.unix(), ticket);
        let sub =
            matches!(doing, Doing::Subscribe).then(|| Sub { channel: channel.to_string(), ..Sub::default() });
        let claims = Claims { expire_at, subs: sub.into_iter().collect(), ..Claims::default() };
        Outcome::Granted(Box::new(Given { claims, ..Given::default() }))
    }
}

impl Node {
    /// Until when a subscription goes on: not all that were made at once are asked about at once.
    pub(super) fn until(&self, unix: u64, ticket: u64) -> u64 {
        let term = self.term.as_secs();
        let spread = ticket.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        unix + term + spread % (term / 4 + 1)
    }

    async fn right(&self, relay: &Relay, key: &Key) -> Verdict {
        let teller = match self.rights.look(relay.uptime(), key) {
            Way::Known(said) => return Ok(said),
            Way::Wait(mut verdict) => {
                let said = verdict.wait_for(Option::is_some).await.ok().and_then(|verdict| *verdict);
                return said.unwrap_or(Err(code::INTERNAL));
            }
            Way::Ask(teller) => teller,
        };
        let question = AskRights { channel: key.0.to_string(), user: key.1.to_string() };
        let mut verdict = None;
        for turn in 1..=RIGHTS_TRIES {
            let word = match self.call::<May>(Word::Rights, &question).await {
                // What does not exist, nobody may.
                Err(error) if error == code::UNKNOWN_CHANNEL || error == code::BAD_REQUEST => {
                    Ok(May { subscribe: false, publish: false })
                }
                Ok(_) if turn == RIGHTS_TRIES => Err(code::INTERNAL),
                word => word,
            };
            verdict = self.rights.settle(relay.uptime(), key, word);
            if verdict.is_some() {
                break;
            }
        }
        let verdict = verdict.unwrap_or(Err(code::INTERNAL));
        teller.send_replace(Some(verdict));
        verdict
    }
}

impl Doing {
    const fn allowed(&self, may: May) -> bool {
        match self {
            Self::Subscribe | Self::SubRefresh => may.subscribe,
            Self::Publish(_) => may.publish,
        }
    }

    fn refusal(&self) -> Outcome {
        let denied = code::PERMISSION_DENIED;
        match self {
            Self::SubRefresh => Outcome::Expired,
            Self::Subscribe | Self::Publish(_) => Outcome::Refused(Refusal {
                code: denied.code.into(),
                message: denied.message.to_owned(),
                temporary: denied.temporary,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: May = May { subscribe: true, publish: true };
    const NO: May = May { subscribe: false, publish: false };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key(user: &str) -> Key {
        ("chat:1.2".into(), user.into())
    }

    fn moved(user: &str) -> Move {
        Move::Of { user: user.into(), channel: "chat:1.2".into() }
    }

    fn known(rights: &Rights, now: Duration, user: &str) -> Option<May> {
        match rights.look(now, &key(user)) {
            Way::Known(said) => Some(said.may),
            _ => None,
        }
    }

    fn learn(rights: &Rights, now: Duration, user: &str, may: May) -> Option<Verdict> {
        assert_eq!(known(rights, now, user), None);
        rights.settle(now, &key(user), Ok(may))
    }

    #[test]
    fn a_right_is_remembered_for_a_while_and_a_refusal_for_less() {
        let rights = Rights::new(seconds(10));
        learn(&rights, seconds(0), "ann", YES).unwrap().unwrap();
        learn(&rights, seconds(0), "ben", NO).unwrap().unwrap();
        assert_eq!(
            (known(&rights, seconds(9), "ann"), known(&rights, seconds(0), "ben")),
            (Some(YES), Some(NO))
        );
        assert_eq!((known(&rights, seconds(10), "ann"), known(&rights, seconds(1), "ben")), (None, None));
    }

    #[test]
    fn what_a_node_takes_back_counts_no_more_wherever_it_was() {
        let rights = Rights::new(seconds(10));
        let said = learn(&rights, seconds(0), "ann", YES).unwrap().unwrap();
        assert!(rights.holds(&key("ann"), said));
        rights.forget(&moved("ben"));
        assert!(rights.holds(&key("ann"), said));
        rights.forget(&moved("ann"));
        assert!(!rights.holds(&key("ann"), said), "it is not handed on any more");
        assert_eq!(known(&rights, seconds(0), "ann"), None, "this asks again");
        rights.forget(&moved("ann"));
        assert_eq!(rights.settle(seconds(0), &key("ann"), Ok(YES)), None, "spoiled on its way");
        assert!(rights.settle(seconds(0), &key("ann"), Ok(NO)).is_some());
        for forgotten in [Move::Any, Move::Of { user: "ann".into(), channel: "".into() }] {
            rights.forget(&forgotten);
            assert!(learn(&rights, seconds(0), "ann", NO).is_some());
        }
    }

    #[test]
    fn equal_questions_are_one_and_a_failure_is_not_remembered() {
        let rights = Rights::new(seconds(10));
        assert!(matches!(rights.look(seconds(0), &key("ann")), Way::Ask(_)));
        assert!(matches!(rights.look(seconds(0), &key("ann")), Way::Wait(_)));
        assert_eq!(rights.settle(seconds(0), &key("ann"), Err(code::INTERNAL)), Some(Err(code::INTERNAL)));
        assert!(matches!(rights.look(seconds(0), &key("ann")), Way::Ask(_)));
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let rights = Rights::new(seconds(10));
        for user in 0..RIGHTS_MAX + 10 {
            assert!(learn(&rights, seconds(0), &user.to_string(), YES).is_some());
        }
        assert_eq!(rights.len(), RIGHTS_MAX);
    }
}
