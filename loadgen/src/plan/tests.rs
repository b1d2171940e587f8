//! Options that make a plan, and options that do not.

use clap::Parser;

use super::*;
use crate::options::{Args, ModeArgs};

fn plan(connections: u32, words: &[&str]) -> Result<Plan, String> {
    let line = ["x", "idle", "-n", "1"].into_iter().chain(words.iter().copied());
    let args = Args::try_parse_from(line).map_err(|error| error.to_string())?;
    let ModeArgs::Idle(idle) = args.mode else { panic!("idle was asked for") };
    Plan::new(&idle.common, connections, 2)
}

#[test]
fn connections_are_shared_out_evenly_and_completely() {
    let plan = plan(10, &["--url", "ws://127.0.0.1:1", "--threads", "3"]).unwrap();
    assert_eq!((0..3).map(|thread| plan.share(thread, 10)).collect::<Vec<_>>(), [4, 3, 3]);
    assert_eq!((0..3).map(|thread| plan.share(thread, 2)).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(plan.briefs(Goal::Greeted, Duration::ZERO).len(), 3);
}

#[test]
fn the_descriptor_limit_decides_the_number_of_threads_when_it_is_low() {
    assert_eq!(threads_for(1_000_000, 20_000), 51);
    assert_eq!(threads_for(19_000, 20_000), 1);
    assert_eq!(threads_for(19_936, 20_000), 2, "the publisher needs one too");
    assert_eq!(threads_for(5, 10), 5, "a limit that leaves nothing still gives an answer");
}

#[test]
fn a_run_without_connections_or_with_too_many_is_refused() {
    for connections in [0, CONNECTIONS_MAX + 1] {
        assert!(plan(connections, &["--url", "ws://127.0.0.1:1"]).unwrap_err().contains("between 1 and"));
    }
}

#[test]
fn trust_needs_a_file_that_holds_certificates() {
    let error = plan(1, &["--url", "wss://127.0.0.1:1", "--ca", "/dev/null"]).unwrap_err();
    assert!(error.contains("holds no certificate") && error.contains("--insecure"), "{error}");
    let error = plan(1, &["--url", "wss://127.0.0.1:1", "--ca", "/nonexistent"]).unwrap_err();
    assert!(error.contains("/nonexistent"), "{error}");
    assert!(plan(1, &["--url", "wss://127.0.0.1:1", "--insecure"]).is_ok());
    assert!(plan(1, &["--url", "wss://127.0.0.1:1", "--insecure", "--server-name", "a b"]).is_err());
}

#[test]
fn only_one_way_to_say_who_one_is() {
    for words in [["--token", "a", "--token-hmac-secret", "b"], ["--token", "a", "--anonymous", "--force"]] {
        let line = ["--url", "ws://127.0.0.1:1"].into_iter().chain(words).collect::<Vec<_>>();
        assert!(plan(1, &line).is_err());
    }
}

#[test]
fn sources_of_the_wrong_family_are_refused() {
    let error = plan(1, &["--url", "ws://127.0.0.1:1", "--sources", "::1"]).unwrap_err();
    assert!(error.contains("families"));
}
