//! What every mode's run is made of: the ramp, the measured time, and gathering what the threads leave.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cause::Tally;
use crate::crew::Crew;
use crate::latency;
use crate::limits::{RAMP_MAX, RAMP_SILENCE_MAX};
use crate::own::OwnLoad;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Basis, Report};
use crate::task::{Order, Task};
use crate::worker::Left;

/// What happened in the measured time, as the coordinator saw it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// By the clock.
    pub wall: Duration,
    /// The server's CPU time, when it is measured.
    pub cpu: Option<Duration>,
    /// What the mode counts.
    pub done: u64,
    /// Connections that reached their goal.
    pub opened: u64,
}

/// All that the threads left, together.
#[derive(Debug)]
pub struct Gathered<T> {
    /// By thread.
    pub tasks: Vec<T>,
    /// What failed or ended.
    pub tally: Tally,
    /// From `connect` to the goal.
    pub openings: Histogram<u64>,
    /// By thread.
    pub own: Vec<OwnLoad>,
    /// Connections open at the end.
    pub open: u64,
    /// Bytes of their records, tables included.
    pub connection_bytes: u64,
    /// For each open connection, seconds since it was last heard from.
    pub silence_s: Vec<u32>,
}

/// Opens up to `total` connections and waits until each has opened or failed, or nothing happens for a long time. Returns how
/// long it took.
pub fn ramp<T: Task>(plan: &Plan, crew: &Crew<T>, total: u32, rate: f64) -> Duration {
    let began = crew.age();
    let threads = f64::from(plan.threads);
    crew.order(|thread| Order::Open { total: plan.share(thread, total), rate: rate / threads });
    let progress = Progress::new("opening connections", u64::from(total));
    let (mut last, mut changed) = (0, crew.age());
    // The longest a single connection may take, and the ramp's own length, are no silence.
    let allowed = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
    let silence = plan.timeout + RAMP_SILENCE_MAX + allowed;
    crew.until(RAMP_MAX, |gauges| {
        let settled = gauges.settled();
        progress.at(gauges.opened.load(Relaxed));
        if settled != last {
            (last, changed) = (settled, crew.age());
        }
        let stuck = gauges.stuck.load(Relaxed) >= u64::from(plan.threads);
        settled >= u64::from(total) || stuck || crew.age().saturating_sub(changed) > silence
    });
    crew.age().saturating_sub(began)
}

/// Waits for the publisher's connection on the first thread.
pub fn publisher<T: Task>(plan: &Plan, crew: &Crew<T>) -> bool {
    crew.order_one(0, Order::Publisher);
    crew.until(plan.timeout, |gauges| gauges.publisher.load(Relaxed))
}

/// Measures for `time` or until the mode is complete; `start` is ordered once the measured time has begun.
pub fn measure<T: Task>(
    plan: &Plan,
    crew: &Crew<T>,
    gauges: &crate::task::Gauges,
    time: Duration,
    start: Option<Order>,
) -> Span {
    crew.order(|_| Order::Mark);
    let look = || (crew.age(), plan.server.cpu(), gauges.done.load(Relaxed), gauges.opened.load(Relaxed));
    let (age, cpu, done, opened) = look();
    if let Some(start) = start {
        crew.order(|_| start);
    }
    let progress = Progress::new("measuring (ms)", time.as_millis() as u64);
    crew.until(time, |gauges| {
        progress.at(crew.age().saturating_sub(age).as_millis() as u64);
        gauges.complete.load(Relaxed)
    });
    let end = look();
    crew.order(|_| Order::Stop);
    Span {
        wall: end.0.saturating_sub(age),
        cpu: end.1.zip(cpu).map(|(after, before)| after.saturating_sub(before)),
        done: end.2 - done,
        opened: end.3 - opened,
    }
}

/// Ends the threads and adds up what they leave.
pub fn gather<T: Task>(crew: Crew<T>) -> Result<Gathered<T>, String> {
    let mut all = Gathered {
        tasks: Vec::new(),
        tally: Tally::default(),
        openings: latency::histogram(),
        own: Vec::new(),
        open: 0,
        connection_bytes: 0,
        silence_s: Vec::new(),
    };
    for left in crew.finish()? {
        let Left { task, tally, openings, own, open, heard_s, ended, connection_bytes } = left;
        all.tasks.push(task);
        all.tally.merge(tally);
        all.openings.add(&openings).map_err(|error| error.to_string())?;
        all.own.push(own);
        all.open += open;
        all.connection_bytes += connection_bytes;
        let ended_s = u32::try_from(ended.as_secs()).unwrap_or(u32::MAX);
        all.silence_s.extend(heard_s.iter().map(|heard_s| ended_s.saturating_sub(*heard_s)));
    }
    Ok(all)
}

/// The figures of the opening that every mode has. How fast it went is this run's: `handshake` measures what a server can do.
pub fn opening_figures(report: &mut Report, opened: u64, took: Duration, openings: &Histogram<u64>) {
    report.figure("connections opened", opened as f64, "", Basis::Count);
    let seconds = took.as_secs_f64();
    if seconds > 0.0 {
        report.figure("opened per second", opened as f64 / seconds, "/s", Basis::Run);
    }
    report.figure("opening p50", latency::ms(openings, 0.5), "ms", Basis::Run);
    report.figure("opening p99", latency::ms(openings, 0.99), "ms", Basis::Run);
}

/// `count` per second of the clock and per second of the server's CPU.
pub fn rate_figures(report: &mut Report, what: &str, count: u64, span: &Span) {
    report.figure(what, count as f64, "", Basis::Count);
    let wall = span.wall.as_secs_f64();
    if wall > 0.0 {
        report.figure(&format!("{what} per second"), count as f64 / wall, "/s", Basis::Clock);
    }
    let Some(cpu) = span.cpu.map(|cpu| cpu.as_secs_f64()).filter(|&cpu| cpu > 0.0) else { return };
    report.figure("server CPU", cpu, "s", Basis::Server);
    report.figure(&format!("{what} per server CPU-second"), count as f64 / cpu, "/s", Basis::Server);
    if count > 0 {
        report.figure(
            &format!("server CPU per {}", singular(what)),
            cpu * 1e6 / count as f64,
            "µs",
            Basis::Server,
        );
    }
}

/// Latencies at the quantiles that matter.
pub fn latency_figures(report: &mut Report, what: &str, latencies: &Histogram<u64>) {
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        report.figure(&format!("{what} {name}"), latency::ms(latencies, quantile), "ms", Basis::Clock);
    }
}

fn singular(what: &str) -> String {
    match what.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => what.strip_suffix('s').unwrap_or(what).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_given_by_the_clock_and_by_the_server_s_cpu() {
        let mut report = Report::new("fanout", "ws://x");
        let span =
            Span { wall: Duration::from_secs(2), cpu: Some(Duration::from_millis(500)), ..Span::default() };
        rate_figures(&mut report, "deliveries", 1_000, &span);
        assert_eq!(report.value("deliveries per second"), Some(500.0));
        assert_eq!(report.value("deliveries per server CPU-second"), Some(2_000.0));
        assert_eq!(report.value("server CPU per delivery"), Some(500.0));
    }

    #[test]
    fn without_a_measured_server_there_are_no_figures_of_it() {
        let mut report = Report::new("rpc", "ws://x");
        rate_figures(&mut report, "replies", 0, &Span { wall: Duration::from_secs(1), ..Span::default() });
        assert_eq!(report.figures.len(), 2);
    }
}
