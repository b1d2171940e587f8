//! What the broker asks of nodes: publications of one user in one channel one after the other, so that they are stored in that order;
//! everything else side by side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use relay::bus::{Tell, Ticket};
use relay::store::Ask;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use wire::code::{self, ErrorCode};
use wire::node;

use super::{Node, Word};
use crate::limits::NODE_WITHIN;

/// Publications that wait for the one before, by channel and user. Whoever has an entry is at work.
#[derive(Debug, Default)]
pub(super) struct Order(Mutex<HashMap<Author, VecDeque<Publication>>>);

type Author = (Arc<str>, Box<str>);

/// One on its way.
#[derive(Debug)]
struct Publication {
    ticket: Ticket,
    data: Vec<u8>,
    key: Box<str>,
    /// Nobody waits for it any more.
    until: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Order {
    /// False: somebody is at work on that author's publications, and will come to this one.
    fn begin(&self, author: &Author, publication: Publication) -> Option<Publication> {
        let mut authors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = authors.get_mut(author) {
            queue.push_back(publication);
            return None;
        }
        authors.insert(author.clone(), VecDeque::new());
        Some(publication)
    }

    fn next(&self, author: &Author) -> Option<Publication> {
        let mut authors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = authors.get_mut(author)?.pop_front();
        if next.is_none() {
            authors.remove(author);
        }
        next
    }
}

impl Node {
    /// Takes one ask. Called under the relay's lock: never blocks and never calls back; the answer comes later.
    pub(crate) fn take(self: &Arc<Self>, ask: Ask) {
        let node = Arc::clone(self);
        let permit = match (self.admit(), ticket_of(&ask)) {
            (Ok(permit), _) => permit,
            (Err(error), Some(ticket)) => {
                tokio::spawn(async move { node.tell(|tell| tell(&Tell::Failed { ticket, code: error })) });
                return;
            }
            (Err(_), None) => return,
        };
        match ask {
            Ask::Publish { ticket, channel, user, data, key } => {
                let Some(relay) = self.relay.upgrade() else { return };
                let until = relay.uptime() + NODE_WITHIN;
                let author = (channel, user);
                let publication = Publication { ticket, data, key, until, _permit: permit };
                if let Some(first) = self.order.begin(&author, publication) {
                    tokio::spawn(async move { node.publish_all(&author, first).await });
                }
            }
            Ask::Read { ticket, channel, since, limit, reverse } => {
                let wanted = node::Read { channel: channel.to_string(), since, limit, reverse };
                tokio::spawn(async move {
                    node.read(ticket, &wanted).await;
                    drop(permit);
                });
            }
            Ask::Renew { channel, epoch } => {
                let wanted = node::Renew { channel: channel.to_string(), epoch: epoch.as_str().to_owned() };
                tokio::spawn(async move {
                    // What stays forked is found again.
                    let _ = node.put(Word::Renew, &wanted).await;
                    drop(permit);
                });
            }
        }
    }

    /// An author's publications, while there are some.
    async fn publish_all(&self, author: &Author, first: Publication) {
        let mut next = Some(first);
        while let Some(publication) = next {
            let ticket = publication.ticket;
            match self.publish(author, publication).await {
                Ok((offset, epoch, duplicate)) => {
                    self.tell(|tell| tell(&Tell::Published { ticket, offset, epoch: &epoch, duplicate }));
                }
                Err(code) => self.tell(|tell| tell(&Tell::Failed { ticket, code })),
            }
            next = self.order.next(author);
        }
    }

    async fn publish(
        &self,
        (channel, user): &Author,
        publication: Publication,
    ) -> Result<(u64, String, bool), ErrorCode> {
        let now = self.relay.upgrade().map_or(Duration::MAX, |relay| relay.uptime());
        if now >= publication.until {
            return Err(code::INTERNAL);
        }
        let data = String::from_utf8(publication.data).ok().and_then(|text| RawValue::from_string(text).ok());
        let data = data.ok_or(code::BAD_REQUEST)?;
        // With a key it may be said twice.
        let named = !publication.key.is_empty();
        let key = if named { publication.key.into() } else { random_key()? };
        let wanted = node::Publish { channel: channel.to_string(), user: user.to_string(), data, key };
        let node::Published { offset, epoch, duplicate, .. } = self.call(Word::Publish, &wanted).await?;
        Ok((offset, epoch, duplicate && named))
    }

    async fn read(&self, ticket: Ticket, wanted: &node::Read) {
        let page = self.call::<node::Page>(Word::Read, wanted).await;
        let bodies = page.and_then(|page| {
            let body = |publication: &node::Publication| Ok((publication.offset, publication.body()?));
            let bodies: Result<Vec<_>, wire::frame::FrameError> =
                page.publications.iter().map(body).collect();
            Ok((page.offset, page.epoch, bodies.map_err(|_| code::INTERNAL)?))
        });
        match bodies {
            Ok((offset, epoch, bodies)) => {
                let publications = bodies.iter().map(|(offset, body)| (*offset, &body[..])).collect();
                let page = Tell::Page { ticket, offset, epoch: &epoch, publications };
                self.tell(|tell| tell(&page));
            }
            Err(code) => self.tell(|tell| tell(&Tell::Failed { ticket, code })),
        }
    }

    fn tell(&self, saying: impl FnOnce(&mut dyn FnMut(&Tell<'_>))) {
        if let Some(relay) = self.relay.upgrade() {
            relay.tell(saying);
        }
    }

    /// Asks some node, and reads its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        word: Word,
        question: &impl Serialize,
    ) -> Result<T, ErrorCode> {
        let answer = self.put(word, question).await?;
        serde_json::from_slice(&answer).map_err(|_| code::INTERNAL)
    }

    async fn put(&self, word: Word, question: &impl Serialize) -> Result<Bytes, ErrorCode> {
        let relay = self.relay.upgrade().ok_or(code::INTERNAL)?;
        let body = serde_json::to_vec(question).map_err(|_| code::INTERNAL)?;
        self.pool.ask(|| relay.uptime(), word, body.into()).await
    }
}

fn ticket_of(ask: &Ask) -> Option<Ticket> {
    match ask {
        Ask::Publish { ticket, .. } | Ask::Read { ticket, .. } => Some(*ticket),
        Ask::Renew { .. } => None,
    }
}

/// A key of a publication whose client gave none.
fn random_key() -> Result<String, ErrorCode> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| code::INTERNAL)?;
    Ok(bytes.iter().fold("relay-".to_owned(), |key, byte| format!("{key}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn an_authors_publications_wait_for_each_other_and_for_nobody_else() {
        let permits = Arc::new(Semaphore::new(9));
        let publication = |ticket| Publication {
            ticket: Ticket(ticket),
            data: Vec::new(),
            key: Box::default(),
            until: Duration::MAX,
            _permit: Arc::clone(&permits).try_acquire_owned().unwrap(),
        };
        let (ann, ben) =
            ((Arc::from("chat:1.2"), Box::from("1.7")), (Arc::from("chat:1.2"), Box::from("1.8")));
        let order = Order::default();
        assert!(order.begin(&ann, publication(1)).is_some());
        assert!(order.begin(&ann, publication(2)).is_none() && order.begin(&ann, publication(3)).is_none());
        assert!(order.begin(&ben, publication(4)).is_some());
        let next = |author| order.next(author).map(|publication| publication.ticket.0);
        assert_eq!([next(&ann), next(&ben), next(&ann), next(&ann)], [Some(2), None, Some(3), None]);
        assert!(order.begin(&ann, publication(5)).is_some(), "nobody is at work any more");
        assert_eq!(permits.available_permits(), 9, "what is over waits for nothing");
    }
}
