//! `[bus]`: how publications cross edges.

use std::time::Duration;

use relay::Following;
use wire::config::{Places, Problem};
use wire::config_table;

use super::mesh::Mesh;
use super::redis::Redis;
use super::word::Kind;

config_table! {
    /// `[bus]`.
    pub struct Bus {
        /// "local": this edge is alone, its relay keeps channels in memory. "mesh": relays keep links to each other. "redis": a server that
        /// all edges share. "redis-cluster": the same with sharded publish and subscribe.
        kind: Kind = Kind::default(),
        /// How long a channel that nobody on this edge wants any more stays subscribed on a shared bus.
        linger: Duration = Following::default().linger,
        /// How long after the last publication or check of a channel its position is compared with a shared bus, to find a lost tail.
        position_check: Duration = Following::default().position_check,
        /// How long a shared bus may take to answer; clients get a temporary error then.
        answer_timeout: Duration = Following::default().answer_timeout,
        /// This edge among the others, for kind "mesh".
        mesh: Mesh = Mesh::default(),
        /// The server or cluster, for kinds "redis" and "redis-cluster".
        redis: Redis = Redis::default(),
    }
}

/// What carries publications between edges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BusKind {
    /// Nothing: one edge.
    #[default]
    Local,
    /// Links between relays.
    Mesh,
    /// One server.
    Redis,
    /// A cluster.
    RedisCluster,
}

impl Bus {
    /// For the broker, where edges share a bus.
    pub(super) fn following(&self) -> Option<Following> {
        let Self { linger, position_check, answer_timeout, .. } = *self;
        (self.kind.0 != BusKind::Local).then_some(Following { linger, position_check, answer_timeout })
    }

    pub(super) fn check(&self, places: &Places, problems: &mut Vec<Problem>) {
        if self.kind.0 == BusKind::Mesh {
            self.mesh.check(places, problems);
        }
        let second = Duration::from_secs(1);
        let least = [
            ("position_check", self.position_check, second),
            ("answer_timeout", self.answer_timeout, second / 10),
        ];
        for (key, found, least) in least {
            if found < least {
                let text = format!("must be at least {least:?}");
                problems.push(places.problem(&format!("bus.{key}"), &text));
            }
        }
    }
}
