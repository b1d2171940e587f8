//! How a user stands to a channel, looked up once a second at most: every request and every relay's question begins with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::Recent;
use crate::flight::Flights;
use crate::limits::{STANDING_AGE_AWAY_MAX, STANDING_AGE_MAX, STANDINGS_MAX};
use crate::model::{Channel, Id};
use crate::problem::Problem;
use crate::state::Node;
use crate::store::{Standing, StoreError};

/// A user in a channel of a workspace.
type Key = (Id, Id, Id);

/// What was looked up lately; each with when, since the start.
#[derive(Debug)]
pub struct Standings {
    known: Recent<Key, (Option<Standing>, Duration)>,
    flights: Flights<Key, Result<Option<Standing>, StoreError>>,
    /// How often something was forgotten: what was looked up before is not to be remembered after.
    forgotten: AtomicU64,
}

impl Default for Standings {
    fn default() -> Self {
        Self { known: Recent::new(STANDINGS_MAX), flights: Flights::default(), forgotten: AtomicU64::new(0) }
    }
}

impl Standings {
    /// It has changed: the next one who asks looks it up.
    pub fn forget(&self, workspace: Id, channel: Id, user: Id) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.known.remove(&(workspace, channel, user));
    }
}

/// How a user stands to a channel, at most a second ago. `None`: there is no such channel in the workspace.
pub async fn standing(
    node: &Node,
    workspace: Id,
    channel: Id,
    user: Id,
) -> Result<Option<Standing>, Problem> {
    let (standing, _) = aged(node, workspace, channel, user, STANDING_AGE_MAX).await?;
    Ok(standing)
}

/// The channel, for a member of it. Whoever is none cannot tell it from one that does not exist.
pub async fn member_of(node: &Node, workspace: Id, channel: Id, user: Id) -> Result<Channel, Problem> {
    let standing = standing(node, workspace, channel, user).await?;
    standing.filter(|standing| standing.member).map(|standing| standing.channel).ok_or_else(Problem::missing)
}

/// The same for reads from the cache: while the store is away, what was known a few minutes ago will do. Says whether it had to.
pub(crate) async fn member_of_lately(
    node: &Node,
    workspace: Id,
    channel: Id,
    user: Id,
) -> Result<(Channel, bool), Problem> {
    let (standing, late) = aged(node, workspace, channel, user, STANDING_AGE_AWAY_MAX).await?;
    let standing = standing.filter(|standing| standing.member).ok_or_else(Problem::missing)?;
    Ok((standing.channel, late))
}

/// Looked up at most a second ago, or, if the store is away, at most `away` ago; says which.
async fn aged(
    node: &Node,
    workspace: Id,
    channel: Id,
    user: Id,
    away: Duration,
) -> Result<(Option<Standing>, bool), Problem> {
    let (key, now) = ((workspace, channel, user), node.clock.now());
    let known = node.standings.known.get(&key);
    if let Some((standing, at)) = &known
        && now.saturating_sub(*at) < STANDING_AGE_MAX
    {
        return Ok((standing.clone(), false));
    }
    let found = node.standings.flights.ask(key, || async {
        let forgotten = node.standings.forgotten.load(Ordering::SeqCst);
        let found = node.router.home(workspace).await?.standing(workspace, channel, user).await?;
        node.standings.known.put(key, (found.clone(), now), 1);
        if node.standings.forgotten.load(Ordering::SeqCst) != forgotten {
            node.standings.known.remove(&key);
        }
        Ok(found)
    });
    match (found.await, known) {
        (Ok(found), _) => Ok((found, false)),
        (Err(StoreError::Missing), _) => Ok((None, false)),
        (Err(StoreError::Away(_)), Some((standing, at))) if now.saturating_sub(at) < away => {
            Ok((standing, true))
        }
        (Err(error), _) => Err(error.into()),
    }
}
