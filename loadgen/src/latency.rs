//! Latencies in bounded memory, in microseconds.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits::LATENCY_MAX;

/// Empty; tells values apart to a thousandth.
pub fn histogram() -> Histogram<u64> {
    let most = u64::try_from(LATENCY_MAX.as_micros()).expect("invariant: two minutes fit");
    Histogram::new_with_bounds(1, most, 3)
        .expect("invariant: 1 .. two minutes at three digits is a valid range")
}

/// Notes `latency` `count` times.
pub fn record(histogram: &mut Histogram<u64>, latency: Duration, count: u64) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.saturating_record_n(micros.max(1), count);
}

/// The value at `quantile` (0 to 1) in milliseconds; 0 when empty.
pub fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() { 0.0 } else { histogram.value_at_quantile(quantile) as f64 / 1e3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds_and_the_longest_is_bounded() {
        let mut latencies = histogram();
        assert_eq!(ms(&latencies, 0.5), 0.0);
        for value in 1..=100 {
            record(&mut latencies, Duration::from_millis(value), 2);
        }
        assert!((ms(&latencies, 0.5) - 50.0).abs() < 0.1);
        record(&mut latencies, Duration::from_secs(9_999), 1);
        assert!(ms(&latencies, 1.0) >= 120_000.0 && ms(&latencies, 1.0) < 121_000.0);
        assert_eq!(latencies.len(), 201);
    }
}
