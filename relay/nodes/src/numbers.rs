//! The number of this node, which its ids have in them: leased from the control database, so that no two nodes have the same.
//!
//! Owns the lease. A node that could not renew it makes no ids: what it would store is refused until it has a number again.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::time;

use crate::clock::Clock;
use crate::ids::{Ids, NUMBERS};
use crate::limits::{CLOCKS_DIFFER_MS, LEASE_MS, LEASE_RENEWED};
use crate::log::log;
use crate::model::{Id, UnixMs};
use crate::state::Node;
use crate::store::{Control, StoreError};
use crate::tokens::keys::random_text;

/// Makes ids while the lease lasts.
#[derive(Debug)]
pub struct Numbers {
    instance: String,
    held: RwLock<Held>,
}

#[derive(Clone, Debug)]
struct Held {
    ids: Arc<Ids>,
    until: UnixMs,
}

impl Numbers {
    /// Takes a number.
    pub async fn lease(control: &dyn Control, clock: &Clock) -> Result<Self, StoreError> {
        let instance = random_text::<16>()?;
        let held = take(control, &instance, clock.unix()).await?;
        Ok(Self { instance, held: RwLock::new(held) })
    }

    /// An id. `Away`: the number may be another node's by now.
    pub fn next(&self, now: UnixMs) -> Result<Id, StoreError> {
        let held = self.held();
        if now + CLOCKS_DIFFER_MS >= held.until {
            return Err(StoreError::Away("the number of this node could not be renewed".to_owned()));
        }
        Ok(held.ids.next(now))
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.held().ids.number()
    }

    /// Keeps the number, or takes another if it was lost.
    pub async fn renew(&self, control: &dyn Control, now: UnixMs) -> Result<(), StoreError> {
        let taken = take(control, &self.instance, now).await?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if taken.ids.number() == held.ids.number() {
            held.until = taken.until;
        } else {
            log!("this node is {} now, and was {}", taken.ids.number(), held.ids.number());
            *held = taken;
        }
        Ok(())
    }

    /// Gives the number back.
    pub async fn release(&self, control: &dyn Control, now: UnixMs) {
        if let Err(error) = control.lease_number(&self.instance, now, now, NUMBERS).await {
            log!("the number {} was not given back: {error}", self.number());
        }
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take(control: &dyn Control, instance: &str, now: UnixMs) -> Result<Held, StoreError> {
    let until = now + LEASE_MS;
    let number = control.lease_number(instance, now, until, NUMBERS).await?;
    let number = number.ok_or_else(|| StoreError::Refused(format!("{NUMBERS} nodes run already")))?;
    Ok(Held { ids: Arc::new(Ids::new(number)), until })
}

/// Renews again and again, until the task is dropped.
pub async fn keep(node: &Node) {
    loop {
        time::sleep(LEASE_RENEWED).await;
        if let Err(error) = node.numbers.renew(&**node.router.control(), node.clock.unix()).await {
            log!("the number {} was not renewed: {error}", node.numbers.number());
        }
    }
}
