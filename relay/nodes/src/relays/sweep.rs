//! What nobody has told relays: entries whose node died between commit and announcement, or found no room or no relay. And changes of
//! membership, which are told until every shard of every edge has heard of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use tokio::time;

use super::dispatch::Announcement;
use super::limits::{NOTICE_TURNS, NOTICES, SWEEP_CHANNELS, SWEEP_ENTRIES, SWEEP_EVERY};
use super::names::{Family, Name, UserName};
use super::teller::{Teller, distinct, unless_gone};
use super::words::Command;
use crate::model::{Channel, Id};
use crate::store::{Notice, Store, StoreError, Unannounced};

/// One channel and user of a home, with the numbers of their notices.
struct Told {
    workspace: Id,
    channel: Id,
    user: Id,
    numbers: Vec<u64>,
}

impl Teller {
    /// Announces what nobody else does: at once what was left by those who ran before, later what stays for longer than a round.
    pub(super) async fn sweep(&self) {
        let mut seen: Option<HashMap<Id, u64>> = None;
        loop {
            let mut now = HashMap::new();
            let mut well = true;
            for store in self.stores() {
                let found = match store.unannounced(SWEEP_CHANNELS).await {
                    Ok(found) => found,
                    Err(error) => {
                        unless_gone(&error, "what is to be announced");
                        continue;
                    }
                };
                for one in found {
                    // Somebody may be about to announce it.
                    let stays = seen.as_ref().is_none_or(|seen| seen.get(&one.channel) == Some(&one.since));
                    now.insert(one.channel, one.since);
                    if stays && well {
                        well = self.announce_rest(&*store, &one).await.is_ok();
                    }
                }
            }
            seen = Some(now);
            time::sleep(SWEEP_EVERY).await;
        }
    }

    /// All of one channel, in order. The error: nothing more can be announced now.
    async fn announce_rest(&self, store: &dyn Store, found: &Unannounced) -> Result<(), ()> {
        let known = async {
            let home = self.router.home(found.workspace).await?;
            home.channel(found.workspace, found.channel).await
        };
        let name = match known.await {
            Ok(Some(channel)) => Name::stream(&channel),
            Ok(None) => return Ok(()),
            Err(error) => {
                unless_gone(&error, "a channel that is to be announced");
                return Ok(());
            }
        };
        let mut since = found.since;
        loop {
            let entries = store.entries(found.channel, Some(since), SWEEP_ENTRIES, false).await;
            let (position, entries) = match entries {
                Ok(Some(entries)) => entries,
                Ok(None) => return Ok(()),
                Err(error) => {
                    unless_gone(&error, "entries that are to be announced");
                    return Ok(());
                }
            };
            let Some(last) = entries.last().map(|entry| entry.offset) else { return Ok(()) };
            let count = entries.len();
            self.counters.swept.fetch_add(count as u64, Ordering::Relaxed);
            let epoch = position.epoch;
            let announce = |entry| Announcement { name, epoch: epoch.clone(), entry };
            let all: Vec<Announcement> = entries.into_iter().map(announce).collect();
            self.announce(&all, Vec::new()).await?;
            if count < SWEEP_ENTRIES {
                return Ok(());
            }
            since = last;
        }
    }

    /// Tells relays of changes of membership, as soon as there are some.
    pub(super) async fn notices(&self, clock: impl Fn() -> i64) {
        loop {
            for home in distinct(self.router.homes()) {
                while let Ok(true) = self.tell_notices(&*home, clock()).await {}
            }
            let _ = time::timeout(SWEEP_EVERY, self.shared.noticed()).await;
        }
    }

    /// Whether there are more that can be told at once.
    async fn tell_notices(&self, home: &dyn Store, now: i64) -> Result<bool, ()> {
        let failed = |error: StoreError| unless_gone(&error, "notices of members");
        let notices = home.notices(now + 1, NOTICES).await.map_err(failed)?;
        let (count, mut waiting) = (notices.len(), group(&notices));
        for _ in 0..NOTICE_TURNS {
            let mut commands = Vec::new();
            let mut told = Vec::new();
            for one in waiting {
                let stood = home.standing(one.workspace, one.channel, one.user).await.map_err(failed)?;
                if let Some(standing) = &stood {
                    commands.extend(said(&standing.channel, one.user, standing.member));
                }
                told.push((one, stood.map(|standing| standing.member)));
            }
            self.tell_all(&commands).await?;
            waiting = Vec::new();
            let mut done = Vec::new();
            for (one, stood) in told {
                // Of two nodes that tell at once, whoever was last looks again after it.
                let stands = home.standing(one.workspace, one.channel, one.user).await.map_err(failed)?;
                match stands.map(|standing| standing.member) == stood {
                    true => done.extend(one.numbers),
                    false => waiting.push(one),
                }
            }
            home.drop_notices(&done).await.map_err(failed)?;
            self.counters.notices.fetch_add(done.len() as u64, Ordering::Relaxed);
            if waiting.is_empty() {
                return Ok(count == NOTICES);
            }
        }
        Err(())
    }

    /// What devices of the user are told may be lost; the rest is told again.
    async fn tell_all(&self, commands: &[Command]) -> Result<(), ()> {
        let Some(api) = self.api.as_ref().filter(|_| !commands.is_empty()) else { return Ok(()) };
        let outcomes = api.tell(commands, true).await.map_err(|_| ())?;
        let essential = |command: &Command| !matches!(command, Command::Publish { .. });
        let mut failed = commands.iter().zip(&outcomes).filter(|(command, outcome)| {
            // A relay without such channels has nobody in them.
            essential(command) && !matches!(outcome, Ok(()) | Err(UNKNOWN_CHANNEL))
        });
        if failed.next().is_some() { Err(()) } else { Ok(()) }
    }
}

/// See [`wire::code::UNKNOWN_CHANNEL`].
const UNKNOWN_CHANNEL: u16 = wire::code::UNKNOWN_CHANNEL.code;

fn group(notices: &[Notice]) -> Vec<Told> {
    let mut all: BTreeMap<(Id, Id), Told> = BTreeMap::new();
    for Notice { number, channel, workspace, user, .. } in notices {
        let told = Told { workspace: *workspace, channel: *channel, user: *user, numbers: Vec::new() };
        all.entry((*channel, *user)).or_insert(told).numbers.push(*number);
    }
    all.into_values().collect()
}

/// What relays are told of a user who is in a channel, or is not.
fn said(channel: &Channel, user: Id, member: bool) -> Vec<Command> {
    let (stream, who) = (Name::stream(channel), UserName { workspace: channel.workspace, user });
    let mut commands: Vec<Command> = Command::membership(who, stream, member).into_iter().collect();
    if member {
        let (user, channel) = (who.to_string(), stream.to_string());
        commands.push(Command::Subscribe { user, channel, where_listed: true });
    } else {
        for name in [stream, Name { family: Family::Live, ..stream }] {
            commands.push(Command::Unsubscribe { user: who.to_string(), channel: name.to_string() });
        }
    }
    commands
}
