//! `tuning`: which limits of the machine stand between it and N connections, and what lifts each of them.
//!
//! Owns the table of limits, reading them from `/proc` and `/sys`, and the words that explain them. Never changes anything.
#![forbid(unsafe_code)]

mod cards;
mod groups;
mod host;
mod limits;
mod needs;
mod render;
mod rows;
mod signs;
mod table;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

pub use host::Host;
pub use limits::{
    CONNECTIONS_MAX, CONNECTIONS_REFERENCE, DESCRIPTORS_RESERVED, KERNEL_BYTES_PER_SOCKET,
    TABLE_CONNECTIONS_DEFAULT,
};
pub use needs::{Needs, Side, tables_needed};
pub use render::{grouped, json, sysctl, text};
pub use signs::{Sign, signs};
pub use value::{Reading, Want};

/// How much an unmet limit matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Connections beyond it fail.
    Stops,
    /// They work, but slower, or drop in a burst.
    Slows,
    /// Nothing is too low; it would be better otherwise, and by how much depends on the traffic.
    Helps,
}

/// One limit as found on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// As the kernel calls it.
    pub name: String,
    /// What is set now.
    pub present: Reading,
    /// What the needs ask for.
    pub needed: Want,
    /// How much it matters when it is not met.
    pub weight: Weight,
    /// Why that much, as a clause.
    pub why: &'static str,
    /// The command or setting that mends it.
    pub fix: String,
}

/// A limit that is too low. Displayed, it is a sentence or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding(pub Limit);

/// What a machine was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Every limit that applies and can be read, met or not; what stops first.
    pub limits: Vec<Limit>,
    /// Limits that would apply but that this kernel does not have or does not show.
    pub absent: Vec<&'static str>,
    /// What the kernel has counted since it started and should not have had to.
    pub signs: Vec<Sign>,
}

/// The machine does not show its limits at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable;

impl Limit {
    /// Whether it is as it should be.
    pub fn met(&self) -> bool {
        self.needed.met(&self.present)
    }

    /// Whether it has to be changed: it is not met, and that stops or slows connections.
    pub fn short(&self) -> bool {
        self.weight != Weight::Helps && !self.met()
    }
}

impl Survey {
    /// Whether no limit is too low.
    pub fn fits(&self) -> bool {
        !self.limits.iter().any(Limit::short)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { name, present, needed, why, fix, .. } = &self.0;
        write!(out, "{name} is {present} and should be {needed}: {why}. To fix it: {fix}")
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the limits of this machine cannot be read: /proc/self/limits is missing; mount /proc (Linux only)")
    }
}

impl std::error::Error for Unreadable {}

/// Looks at everything.
pub fn survey(host: &Host, needs: &Needs) -> Result<Survey, Unreadable> {
    host.hard_nofile().ok_or(Unreadable)?;
    let rows = rows::ROWS.iter().filter(|row| (row.needed)(needs).is_some());
    let absent = rows.filter(|row| !row.optional && row.limit(host, needs).is_none()).map(|row| row.name);
    Ok(Survey { limits: limits(host, needs), absent: absent.collect(), signs: signs(host) })
}

/// Every limit that applies to `needs` and can be read, met or not; what stops first.
pub fn limits(host: &Host, needs: &Needs) -> Vec<Limit> {
    let mut found: Vec<Limit> = rows::ROWS.iter().filter_map(|row| row.limit(host, needs)).collect();
    found.extend(cards::limits(host, needs));
    found.sort_by_key(|limit| limit.weight);
    found
}

/// The limits of this machine that are too low for `needs`, those that stop connections first.
pub fn check(needs: &Needs) -> Vec<Finding> {
    findings(&Host::default(), needs)
}

/// [`check`] against a machine whose `/proc` and `/sys` are elsewhere.
pub fn findings(host: &Host, needs: &Needs) -> Vec<Finding> {
    limits(host, needs).into_iter().filter(Limit::short).map(Finding).collect()
}
