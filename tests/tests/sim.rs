//! The seeds of the gate, and the simulator's own tests: the same seed makes the same trace, and a planted bug is caught.
#![forbid(unsafe_code)]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use tests::sim::{Failure, Plant, run, run_aloud};

/// Seeds when nobody says how many.
const SEEDS: u64 = 64;
/// Seeds within which a planted bug must be caught.
const CATCHES: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn seeds_hold() {
    if let Some(seed) = number("SIM_SEED") {
        return run_aloud(seed).map(drop).unwrap_or_else(|failure| panic!("\n{failure}\n"));
    }
    let (next, seeds) = (AtomicU64::new(0), number("SIM_SEEDS").unwrap_or(SEEDS));
    let failed: Vec<Failure> = thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return failed;
                }
                failed.extend(run(seed, Plant::Nothing).err());
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    if let Some(first) = failed.iter().min_by_key(|failure| failure.seed) {
        let all: Vec<String> =
            failed.iter().map(|failure| format!("{}: {:.160}", failure.seed, failure.what)).collect();
        panic!("\n{first}\n{} of {seeds} seeds fail:\n{}\n", all.len(), all.join("\n"));
    }
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let mut tls = 0;
    for seed in 0..24 {
        let (one, two) = (run(seed, Plant::Nothing), run(seed, Plant::Nothing));
        match (one, two) {
            (Ok(one), Ok(two)) => {
                assert_eq!(one, two, "seed {seed}");
                tls += u32::from(one.tls);
            }
            (one, two) => panic!("seed {seed}: {one:?}, {two:?}"),
        }
    }
    assert!(tls > 0, "some of these seeds speak TLS");
}

/// The first failure from that seed on: a late one spares the search for a bug that few worlds show.
fn catches(plant: Plant, from: u64) -> Failure {
    let caught = (from..from + CATCHES).find_map(|seed| run(seed, plant).err());
    caught.unwrap_or_else(|| panic!("{plant:?} is not caught in {CATCHES} seeds"))
}

#[test]
fn a_leaked_descriptor_is_caught() {
    let failure = catches(Plant::LeakedDescriptor, 0);
    assert!(failure.what.contains("descriptors are open"), "{failure}");
}

#[test]
fn a_dropped_byte_is_caught() {
    catches(Plant::DroppedByte, 0);
}

#[test]
fn a_missed_edge_is_caught() {
    catches(Plant::MissedEdge, 0);
}

#[test]
fn a_reordered_offset_is_caught() {
    let failure = catches(Plant::ReorderedOffset, 13);
    assert!(failure.what.contains("offset"), "{failure}");
}

#[test]
fn an_expired_session_that_stays_is_caught() {
    let failure = catches(Plant::ForgottenExpiry, 24);
    assert!(failure.what.contains("outlives its token"), "{failure}");
}

#[test]
fn a_forgotten_grace_is_caught() {
    let failure = catches(Plant::ForgottenGrace, 24);
    assert!(
        failure.what.contains("though it kept to the protocol") || failure.what.contains("unsubscribed"),
        "{failure}"
    );
}

#[test]
fn a_difference_to_another_publication_is_caught() {
    let failure = catches(Plant::WrongBase, 3);
    assert!(failure.what.contains("in diff:"), "{failure}");
}

#[test]
fn a_filter_that_is_not_asked_is_caught() {
    let failure = catches(Plant::IgnoredFilter, 3);
    assert!(failure.what.contains("does not pass the filter"), "{failure}");
}

#[test]
fn a_rate_that_is_not_kept_to_is_caught() {
    let failure = catches(Plant::StingyRate, 0);
    assert!(failure.what.contains("keeps to"), "{failure}");
}

#[test]
fn commands_that_reach_a_session_twice_are_caught() {
    let failure = catches(Plant::DoubledCommand, 5);
    assert!(
        failure.what.contains("nobody asked") || failure.what.contains("kept to the protocol"),
        "{failure}"
    );
}

#[test]
fn a_poll_that_forgets_a_publication_is_caught() {
    let failure = catches(Plant::ForgetfulPoll, 17);
    assert!(failure.what.contains("nothing was said"), "{failure}");
}
