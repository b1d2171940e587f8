//! What framing costs. `cargo test --release -p protocol ws::tests::speed -- --ignored --nocapture`

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::*;

/// The shortest of many short rounds, per repetition: what it costs when nobody else has the core.
#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn measure(repetitions: u32, mut work: impl FnMut()) -> f64 {
    let rounds = (0..200).map(|_| {
        let start = Instant::now();
        for _ in 0..repetitions {
            work();
        }
        start.elapsed()
    });
    rounds.min().unwrap_or(Duration::MAX).as_secs_f64() * 1e9 / f64::from(repetitions)
}

#[test]
#[ignore = "a measurement: run it in release"]
fn small_messages_and_masking() {
    for length in [16, 64, 128, 1024, 16_384] {
        let whole = raw(FIN | TEXT, vec![b'a'; length]).bytes(Role::Server);
        let mut input = whole.clone();
        let mut reader = Reader::new();
        let limits = Limits::default();
        let copy = measure(10_000, || {
            black_box(&mut input).copy_from_slice(black_box(&whole));
        });
        let both = measure(10_000, || {
            black_box(&mut input).copy_from_slice(black_box(&whole));
            let item = reader.next(Role::Server, &mut input, &limits);
            assert!(matches!(black_box(item), Ok((_, Item::Text(_)))));
        });
        println!("text of {length} bytes: {:.1} ns (and {copy:.1} ns to copy it there)", both - copy);
    }
    let mut buffer = vec![0u8; 16_384];
    let pass = measure(2_000, || mask(black_box(&mut buffer), black_box(KEY)));
    println!("masking: {:.1} GB/s", 16_384.0 / pass);
}
