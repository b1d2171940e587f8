//! The course of a seed's world, and its end: faults off, everybody reads, nothing new. Then all that is owed has to arrive, every
//! timer has to settle, every closing has to close, and nobody may be left anywhere.

use std::time::Duration;

use super::{
    client::Phase,
    echoed::Echoed,
    view::Stand,
    world::{LINKS, World},
};

/// Virtual time in which everything must have settled: longer than any deadline of the gateway and its relay.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// How long everybody is then left alone: pings come and go, and who was lost is no longer present.
const REST: Duration = Duration::from_secs(12);
/// Virtual time in which everybody must have gone.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// Turns are cheap but not free: a world that needs more than these does not settle.
const TURNS_MAX: u32 = 60_000;

impl World {
    /// From the first turn to the last.
    pub(super) fn live(&mut self) -> Result<(), String> {
        let early = self.plan.drains && self.plan.turns.is_multiple_of(2);
        for _ in 0..self.plan.turns {
            self.trouble()?;
            self.turn()?;
        }
        self.calm()?;
        if early {
            return self.ends_drained();
        }
        self.around.phase = Phase::Settling;
        self.until(SETTLES_WITHIN, "it does not settle", Self::is_settled)?;
        self.rest()?;
        self.judge()?;
        if self.plan.drains {
            return self.ends_drained();
        }
        self.around.phase = Phase::Leaving;
        self.until(GONE_WITHIN, "not everybody goes", |world| {
            world.clients.iter().all(|client| client.is_gone()) && world.connections() == 0
        })?;
        self.is_empty()
    }

    fn until(
        &mut self,
        within: Duration,
        what: &str,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<(), String> {
        let end = self.kernel.borrow().now + within;
        let last = self.step + TURNS_MAX;
        while !done(self) {
            self.turn()?;
            if self.kernel.borrow().now > end || self.step > last {
                return Err(format!("{what} within {within:?}: {}", self.unrest()));
            }
        }
        Ok(())
    }

    fn unrest(&self) -> String {
        let clients = self.clients.iter().filter(|client| !client.is_settled(&self.around));
        let named: Vec<String> = clients.take(3).map(|client| client.condition()).collect();
        let stats: Vec<_> = self.cores.iter().map(|core| core.reactor.shard().stats()).collect();
        format!(
            "{}; {}; relay still {}; {stats:?}",
            named.join("; "),
            self.kernel.borrow().unrest(),
            self.relay.is_still(),
        )
    }

    fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| client.is_settled(&self.around))
            && self.relay.is_still()
            && self.kernel.borrow().is_still()
            && self.echoes.iter().all(Echoed::is_settled)
            && self.stats().fanout_bytes == 0
    }

    fn rest(&mut self) -> Result<(), String> {
        let end = self.kernel.borrow().now + REST;
        self.until(2 * REST, "it does not stay settled", |world| {
            world.kernel.borrow().now > end && world.is_settled()
        })
    }

    /// All that was owed is there.
    fn judge(&mut self) -> Result<(), String> {
        let mut present = vec![Vec::new(); self.around.channels.len()];
        let tops: Vec<_> =
            self.around.channels.iter().map(|channel| self.relay.position(&channel.name)).collect();
        for client in &self.clients {
            for view in &client.views {
                let complete = view.is_complete(&self.around.ledger, &tops[view.channel]);
                complete.map_err(|crime| {
                    format!(
                        "client {} in {}: {crime}",
                        client.number, self.around.channels[view.channel].name
                    )
                })?;
                if view.stand == Stand::On && !view.hidden {
                    present[view.channel].push(client.session.clone());
                }
            }
        }
        for (channel, mut expected) in self.around.channels.iter().zip(present) {
            if channel.presence {
                let mut there = self.relay.present(&channel.name);
                there.sort();
                expected.sort();
                if there != expected {
                    return Err(format!("present in {}: {there:?}, not {expected:?}", channel.name));
                }
            }
        }
        let stats = self.stats();
        let sessions = self.clients.iter().filter(|client| client.is_ready()).count() as u64;
        let subscriptions: usize = self.clients.iter().map(|client| client.subscriptions()).sum();
        for (what, counted, expected) in [
            ("sessions", stats.established, sessions),
            ("subscriptions", stats.subscriptions, subscriptions as u64),
            ("bytes of backlog", stats.backlog_bytes, 0),
            ("bytes of fan-out", stats.fanout_bytes, 0),
        ] {
            if counted != expected {
                return Err(format!("at rest there are {counted} {what}, not {expected}"));
            }
        }
        // Beside these there are those that clients keep for their commands.
        let (held, beside) =
            (self.connections() as u64, self.clients.iter().filter(|c| c.posts()).count() as u64);
        if !(sessions..=sessions + beside).contains(&held) {
            return Err(format!(
                "at rest there are {held} connections for {sessions} sessions and {beside} posts"
            ));
        }
        let limit = self.plan.features.user_limit as usize;
        let crowd = self.sessions().into_iter().find(|(_, count)| limit > 0 && *count > limit);
        if let Some((user, count)) = crowd.filter(|_| self.relay.links_ended == 0) {
            return Err(format!("{user} has {count} sessions, {limit} are allowed"));
        }
        if self.relay.reports == 0 {
            return Err("the relay was never told a counter".to_owned());
        }
        Ok(())
    }

    fn ends_drained(&mut self) -> Result<(), String> {
        self.drain();
        let end = self.kernel.borrow().now + GONE_WITHIN;
        while !self.is_drained() {
            self.turn()?;
            if self.kernel.borrow().now > end {
                return Err(format!("a drain does not end: {}", self.unrest()));
            }
        }
        self.is_empty()
    }

    /// Nothing is left of anybody.
    fn is_empty(&mut self) -> Result<(), String> {
        let stats = self.stats();
        let files: Vec<_> =
            (0..self.cores.len()).map(|shard| self.kernel.borrow().open_files(shard)).collect();
        let left = [
            ("descriptors", files.iter().map(|files| files.2 as u64).sum()),
            ("links too many", files.iter().map(|files| files.1.saturating_sub(LINKS) as u64).sum()),
            ("subscriptions", stats.subscriptions),
            // Whoever drains does not wait for the relay's answers.
            ("channels", if self.is_drained() { 0 } else { stats.channels }),
            ("bytes held", stats.backlog_bytes),
            ("bytes of fan-out", stats.fanout_bytes),
        ];
        match left.iter().find(|(_, count)| *count > 0) {
            Some((what, count)) => Err(format!("when everybody is gone there are {count} {what}")),
            None => Ok(()),
        }
    }
}
