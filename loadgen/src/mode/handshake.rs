//! `handshake`: connects, completes the handshake, resets, and does it again, to see what opening costs the server.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use protocol::client::received::Answer;

use crate::connection::{Line, Listener};
use crate::crew::Crew;
use crate::latency;
use crate::limits::{OPENING_HANDSHAKE_DEFAULT, RAMP_SILENCE_MAX};
use crate::manner::Goal;
use crate::options::{CommonArgs, HandshakeArgs};
use crate::plan::{Plan, rate, seconds};
use crate::report::{Basis, Report};
use crate::run::{self, Span};
use crate::task::{Fate, Gauges, Order, Post, Task};
use crate::who::{Who, identity_by_who};

/// Handshakes at a rate, for a time.
#[derive(Debug, Clone)]
pub struct Handshake {
    rate: f64,
    time: Duration,
    goal: Goal,
}

/// A second for caches and the server's threads to settle.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Opener {
    who: Who,
    measuring: bool,
    latencies: Histogram<u64>,
}

impl Handshake {
    pub(super) fn new(args: &HandshakeArgs) -> Result<(Plan, Self), String> {
        let cores = sys::cores().map_or(1, |cores| cores.len());
        let opening = args.common.opening.unwrap_or(OPENING_HANDSHAKE_DEFAULT);
        let most = opening.saturating_mul(u32::try_from(cores).unwrap_or(1));
        let plan = Plan::new(&CommonArgs { opening: Some(opening), ..args.common.clone() }, most, 2)?;
        let this = Self {
            rate: rate("--rate", args.rate)?,
            time: seconds("--seconds", args.seconds)?,
            goal: if args.upgrade { Goal::Upgraded } else { Goal::Secured },
        };
        Ok((plan, this))
    }

    pub(super) fn run(&self, plan: &Plan) -> Result<Report, String> {
        let gauges = Arc::new(Gauges::default());
        let crew = Crew::start(plan.briefs(self.goal, Duration::ZERO), &gauges, |_, _| Opener {
            who: Who::new(plan.credentials.clone(), None),
            measuring: false,
            latencies: latency::histogram(),
        })
        .map_err(|error| error.to_string())?;
        let rate = self.rate / f64::from(plan.threads);
        crew.order(|_| Order::Open { total: u32::MAX, rate });
        // The first one may take a while; without one there is nothing to measure.
        let enough = |gauges: &Gauges| gauges.settled() > 0;
        crew.until(plan.timeout + RAMP_SILENCE_MAX, enough);
        crew.hold(WARM_UP, |_| ());
        let span = run::measure(plan, &crew, &gauges, self.time, None);
        self.report(plan, &span, run::gather(crew)?)
    }

    fn report(&self, plan: &Plan, span: &Span, all: run::Gathered<Opener>) -> Result<Report, String> {
        let mut report = Report::new("handshake", &plan.target.url);
        report.setting = vec![
            ("threads", plan.threads.to_string()),
            ("opening", plan.opening().to_string()),
            ("tls", plan.target.tls.to_string()),
            ("upgrade", (self.goal == Goal::Upgraded).to_string()),
        ];
        if self.rate > 0.0 {
            report.setting.push(("rate", self.rate.to_string()));
        }
        run::rate_figures(&mut report, "handshakes", span.opened, span);
        let mut latencies = latency::histogram();
        for task in &all.tasks {
            latencies.add(&task.latencies).map_err(|error| error.to_string())?;
        }
        run::latency_figures(&mut report, "handshake", &latencies);
        report.figure("measured", span.wall.as_secs_f64(), "s", Basis::Count);
        report.broken(&all.tally);
        if span.opened == 0 {
            report.shortfalls.push("No handshake was completed in the measured time.".to_owned());
        }
        report.judge(all.own, plan.force);
        Ok(report)
    }
}

identity_by_who!(Opener);

impl Listener for Opener {
    fn publication(&mut self, _line: &mut Line<'_>, _data: &[u8]) {}

    fn answer(&mut self, _line: &mut Line<'_>, _id: u32, _answer: &Answer<'_>) {}
}

impl Task for Opener {
    fn opened(&mut self, _line: &mut Line<'_>, took: Duration, _now: Duration) -> Fate {
        if self.measuring {
            latency::record(&mut self.latencies, took, 1);
        }
        Fate::Reset
    }

    fn lost(&mut self, _index: u32, _number: u32, _now: Duration) {}

    fn order(&mut self, order: Order, _now: Duration) {
        match order {
            Order::Mark => self.measuring = true,
            Order::Stop => self.measuring = false,
            _ => {}
        }
    }

    fn turn(&mut self, _post: &mut Post, _now: Duration) {}

    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn clock(&mut self, _now: Duration) {}
}
