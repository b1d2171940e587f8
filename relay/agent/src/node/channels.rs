//! The channels that a connection begins with: those of its user, as a node says.
//!
//! Owns that an answer which a move has overtaken is asked for again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relay::{LinkId, Move};
use wire::backend::{Given, Outcome};
use wire::code;
use wire::link::ToShard;
use wire::node;
use wire::token::{Claims, Sub};

use super::{Node, Word};
use crate::limits::RIGHTS_TRIES;
use crate::state::Relay;

/// Questions under way; bounded by those that may wait for nodes.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<Asking>);

#[derive(Debug, Default)]
struct Asking {
    last: u64,
    /// Whose channels, and whether somebody has moved them since.
    users: HashMap<u64, (Box<str>, bool)>,
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, user: &str) -> u64 {
        let mut asking = self.lock();
        asking.last += 1;
        let number = asking.last;
        asking.users.insert(number, (user.into(), false));
        number
    }

    /// Whether nobody has moved the user since it began.
    fn end(&self, number: u64) -> bool {
        self.lock().users.remove(&number).is_some_and(|(_, moved)| !moved)
    }

    pub(super) fn spoil(&self, by: &Move) {
        for (user, moved) in self.lock().users.values_mut() {
            *moved |= match by {
                Move::Of { user: other, .. } => user == other,
                Move::Any => true,
            };
        }
    }
}

impl Relay {
    /// Whether connections begin with the channels of their user.
    pub(crate) fn lists_channels(&self) -> bool {
        self.backend().channels
    }

    /// Until when a subscription that a node has made is not asked about; 0: for ever.
    pub(crate) fn listed_until(&self) -> u64 {
        self.node().map_or(0, |node| node.until(self.clock.unix(), self.clock.now().subsec_nanos().into()))
    }

    /// Asks a node for the channels of a user's new connection. The answer comes later; at once if nobody can be asked now.
    pub(crate) fn ask_channels(self: &Arc<Self>, link: LinkId, request: u32, user: &str) {
        let failed = |error: code::ErrorCode| ToShard::Failed { request, code: error.code };
        let Some(node) = self.node() else { return self.answer(link, &failed(code::NOT_AVAILABLE)) };
        let permit = match node.admit() {
            Ok(permit) => permit,
            Err(error) => return self.answer(link, &failed(error)),
        };
        let (relay, node, user) = (Arc::clone(self), Arc::clone(node), user.to_owned());
        tokio::spawn(async move {
            relay.channels_by_node(&node, (link, request), user).await;
            drop(permit);
        });
    }

    async fn channels_by_node(&self, node: &Node, (link, request): (LinkId, u32), user: String) {
        let question = node::AskChannels { user };
        for _ in 0..RIGHTS_TRIES {
            let number = node.channels.begin(&question.user);
            let answer = node.call::<node::Channels>(Word::Channels, &question).await;
            let channels = match answer {
                Ok(answer) => answer.channels,
                Err(error) => {
                    node.channels.end(number);
                    return self.answer(link, &ToShard::Failed { request, code: error.code });
                }
            };
            let subs = channels.into_iter().map(|channel| Sub { channel, ..Sub::default() }).collect();
            let expire_at = node.until(self.clock.unix(), number);
            let claims = Claims { expire_at, subs, ..Claims::default() };
            let outcome = Outcome::Granted(Box::new(Given { claims, ..Given::default() }));
            let holds = || node.channels.end(number);
            if self.answer_while(link, &ToShard::Proxied { request, outcome }, holds) {
                return;
            }
        }
        self.answer(link, &ToShard::Failed { request, code: code::INTERNAL.code });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_a_move_of_the_user_has_overtaken_is_no_answer() {
        let channels = Channels::default();
        let of = |user: &str| Move::Of { user: user.into(), channel: "chat:1.2".into() };
        let (ann, ben) = (channels.begin("ann"), channels.begin("ben"));
        channels.spoil(&of("ann"));
        assert!(!channels.end(ann) && channels.end(ben));
        let ann = channels.begin("ann");
        channels.spoil(&Move::Any);
        assert!(!channels.end(ann));
        assert!(channels.lock().users.is_empty());
    }
}
