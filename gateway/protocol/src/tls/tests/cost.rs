//! What a record costs: run with `cargo test --release -p protocol --lib tls::tests::cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::world::*;
use crate::tls::{Opened, Suite, Traffic};

const ROUNDS: u32 = 200_000;
const RUNS: usize = 7;

#[expect(clippy::disallowed_methods, reason = "a measurement of time")]
fn now() -> Instant {
    Instant::now()
}

/// Median nanoseconds of one call.
fn measure(mut call: impl FnMut()) -> u128 {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = now();
            for _ in 0..ROUNDS {
                call();
            }
            now() - start
        })
        .collect();
    times.sort();
    times[RUNS / 2].as_nanos() / u128::from(ROUNDS)
}

/// The AEAD alone on a key that is set up already.
fn bare(suite: Suite, text: &[u8]) -> u128 {
    use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(suite.aead(), &[7; 32][..suite.key_bytes()]).unwrap());
    let mut buffer = text.to_vec();
    measure(|| {
        let nonce = Nonce::assume_unique_for_key([9; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from([0; 5]), &mut buffer).unwrap();
        std::hint::black_box(&tag);
    })
}

fn set_up(suite: Suite) -> u128 {
    use aws_lc_rs::aead::{LessSafeKey, UnboundKey};
    measure(|| {
        let key = UnboundKey::new(suite.aead(), &[7; 32][..suite.key_bytes()]).unwrap();
        std::hint::black_box(&LessSafeKey::new(key));
    })
}

#[test]
#[ignore = "a measurement, for an idle machine and a release build"]
fn cost_of_a_record() {
    let text = [0x61; 220];
    println!("suite          bare AEAD  key set-up   seal  seal_with   open  key update (ns, 220 bytes)");
    for suite in Suite::ALL {
        let (mut server, _) = twins(suite, 1);
        let mut out = Vec::with_capacity(1024);
        let seal = measure(|| {
            out.clear();
            server.seal(&text, &mut out).unwrap();
        });
        let seal_with = measure(|| {
            out.clear();
            server.seal_with(&mut out, |out| out.extend_from_slice(&text)).unwrap();
        });
        let open = opening(suite, &text);
        let update = if suite.version() == crate::tls::Version::Tls13 {
            let (mut server, _) = twins(suite, 1);
            measure(|| {
                out.clear();
                server.request_key_update(&mut out).unwrap();
            })
        } else {
            0
        };
        let (bare, set_up) = (bare(suite, &text), set_up(suite));
        println!(
            "{:<14} {bare:>9} {set_up:>11} {seal:>6} {seal_with:>10} {open:>6} {update:>11}",
            format!("{suite:?}")
        );
    }
}

/// Opens the same record again and again.
fn opening(suite: Suite, text: &[u8]) -> u128 {
    let (mut server, mut client) = twins(suite, 1);
    let mut record = Vec::new();
    server.seal(text, &mut record).unwrap();
    let mut input = record.clone();
    let rewind = |traffic: &mut Traffic| {
        traffic.halves(suite).1.restart();
    };
    measure(|| {
        input.copy_from_slice(&record);
        rewind(&mut client);
        let (_, opened) = client.open(&mut input).unwrap();
        assert!(matches!(opened, Opened::Data(_)));
    })
}
