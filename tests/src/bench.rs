//! Measuring: what can be measured, how often, against which targets, and how results are written.

mod bare_server;
mod bus;
mod deflate;
mod fanout;
mod flood;
mod handshake;
mod hold;
mod load;
mod machine;
mod memory;
mod mesh;
mod messages;
mod recovery;
mod report;
mod sends;
mod wire_calls;

use anyhow::Result;

pub use report::{Figure, Target, measure};
pub use sends::drain;

/// What a bench is run with.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many runs; the figures are their medians.
    #[arg(long)]
    pub runs: Option<usize>,
    /// How many connections, where that is a choice.
    #[arg(long)]
    pub connections: Option<usize>,
    /// How long one measurement lasts, where that is a choice.
    #[arg(long)]
    pub seconds: Option<u64>,
}

/// One thing that can be measured.
#[derive(Debug)]
pub struct Bench {
    /// On the command line.
    pub name: &'static str,
    /// In the list.
    pub about: &'static str,
    /// Runs when not told otherwise.
    pub runs: usize,
    /// One run.
    pub run: fn(&Options) -> Result<Vec<Figure>>,
}

/// Everything that can be measured.
pub const BENCHES: &[Bench] = &[
    Bench {
        name: "memory",
        about: "user-space bytes per idle, authenticated connection with one subscription",
        runs: 3,
        run: memory::run,
    },
    Bench {
        name: "handshake",
        about: "server CPU per full TLS 1.3 handshake, next to the same in memory plus bare system calls",
        runs: 5,
        run: handshake::run,
    },
    Bench {
        name: "fanout",
        about: "deliveries per CPU-second to TLS subscribers of one channel, next to a bare loop of send",
        runs: 5,
        run: fanout::run,
    },
    Bench {
        name: "deflate",
        about: "bytes and gateway CPU per delivery of 1 KB of JSON to TLS subscribers, compressed and not",
        runs: 3,
        run: deflate::run,
    },
    Bench {
        name: "flood",
        about: "delivery times of a steady stream to 1,000 TLS connections under a flood of handshakes",
        runs: 3,
        run: flood::run,
    },
    Bench {
        name: "mesh",
        about: "links and forwarded publications of blind broadcast, mesh and star with 2 to 32 edges",
        runs: 1,
        run: mesh::run,
    },
    Bench {
        name: "bus",
        about: "from Redis to four gateways per relay CPU-second, next to a bare subscriber; edge to edge; after Redis's restart",
        runs: 3,
        run: bus::run,
    },
    Bench {
        name: "recovery",
        about: "20,000 clients come back at once to 50 channels of two edges around one Redis: queries of history, and the time it takes",
        runs: 3,
        run: recovery::run,
    },
    Bench {
        name: "messages",
        about: "messages stored by a node on SQLite and PostgreSQL, next to bare inserts of the same rows; POST to ack and to delivery",
        runs: 3,
        run: messages::run,
    },
    Bench {
        name: "history",
        about: "pages of history among 10,000,000 messages and among 100,000, on SQLite and PostgreSQL",
        runs: 1,
        run: messages::history::run,
    },
    Bench { name: "idle", about: "CPU per 100,000 connections with 25 s pings", runs: 3, run: hold::idle },
    Bench {
        name: "hold",
        about: "many TLS connections for a minute: none lost, every one reached at the end",
        runs: 1,
        run: hold::hold,
    },
];

/// The middle of some values (the mean of the two middle ones).
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
