//! A short, seeded run of every fuzz target, without coverage and on any toolchain: what the long runs once found stays found, and
//! nobody breaks a target unnoticed. The long runs: `tests/fuzz/README.md`.

use std::{fs, panic::catch_unwind, path::Path};

use tests::fuzz::{Mutator, TARGETS, Target};

/// Mutated inputs per target.
const INPUTS: u64 = 20_000;

#[test]
fn every_seed_passes_its_target() {
    for target in TARGETS {
        for (index, seed) in (target.seeds)().iter().enumerate() {
            try_input(target, seed, &format!("seed {index}"));
        }
    }
}

#[test]
fn every_input_that_ever_failed_passes_now() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(target.name);
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            try_input(target, &fs::read(&path).unwrap(), &path.display().to_string());
        }
    }
}

#[test]
fn mutated_inputs_break_no_promise() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        for number in 0..INPUTS {
            let input = Mutator::new(number).input(&seeds);
            try_input(target, &input, &format!("mutation {number}"));
        }
    }
}

fn try_input(target: &Target, input: &[u8], origin: &str) {
    assert!(
        catch_unwind(|| (target.run)(input)).is_ok(),
        "{}, {origin}: {}",
        target.name,
        input.escape_ascii()
    );
}
