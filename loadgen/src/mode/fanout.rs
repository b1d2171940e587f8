//! `fanout`: one channel, many subscribers, and a publisher that keeps so many publications in flight. One is in flight until
//! every subscriber has it.

mod board;
mod crowd;
mod press;

use std::sync::Arc;
use std::time::Duration;

use crate::crew::Crew;
use crate::latency;
use crate::limits::{IN_FLIGHT_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MIN, PUBLICATION_TIMEOUT};
use crate::manner::Goal;
use crate::options::FanoutArgs;
use crate::pattern::Pattern;
use crate::plan::{Plan, rate, seconds};
use crate::report::{Basis, Report, Row};
use crate::run::{self, Gathered, Span};
use crate::task::{Gauges, Order};
use crate::who::Who;
use board::Board;
use crowd::Crowd;
use press::Press;

/// Publications to many.
#[derive(Debug, Clone)]
pub struct Fanout {
    channel: String,
    in_flight: usize,
    payload_bytes: usize,
    time: Duration,
    count: Option<u64>,
    rate: Option<f64>,
    ramp: f64,
}

/// A second for caches and connections' windows to settle.
const WARM_UP: Duration = Duration::from_secs(1);

impl Fanout {
    pub(super) fn new(args: &FanoutArgs) -> Result<(Plan, Self), String> {
        // One thread by default: the server's cores are on the same machine as often as not.
        let plan = Plan::new(&args.common, args.connections, 1)?;
        if args.in_flight == 0 || args.in_flight > IN_FLIGHT_MAX {
            return Err(format!("--in-flight must be between 1 and {IN_FLIGHT_MAX}"));
        }
        if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&args.payload) {
            return Err(format!(
                "--payload must be between {PAYLOAD_BYTES_MIN} and {PAYLOAD_BYTES_MAX} bytes"
            ));
        }
        let paced = args.rate.map(|value| rate("--rate", value)).transpose()?.filter(|&rate| rate > 0.0);
        let this = Self {
            channel: args.channel.clone(),
            in_flight: args.in_flight,
            payload_bytes: args.payload,
            time: seconds("--seconds", args.seconds)?,
            count: args.count,
            rate: paced,
            ramp: rate("--ramp", args.ramp)?,
        };
        Ok((plan, this))
    }

    pub(super) fn run(&self, plan: &Plan) -> Result<Report, String> {
        let gauges = Arc::new(Gauges::default());
        let board = Arc::new(Board::new());
        let channel = Pattern::parse(&self.channel)?;
        let crew = Crew::start(plan.briefs(Goal::Greeted, self.nap()), &gauges, |brief, wakers| {
            let who = Who::new(plan.credentials.clone(), Some(channel.clone()));
            let press = (brief.thread == 0).then(|| self.press());
            Crowd::new(who, press, Arc::clone(&board), Arc::clone(&gauges), wakers.clone())
        })
        .map_err(|error| error.to_string())?;
        let ramp = run::ramp(plan, &crew, plan.connections, self.ramp);
        let mut span = Span::default();
        let ready = board.subscribers() > 0 && run::publisher(plan, &crew);
        if ready {
            // A given number of publications is measured from the first one on.
            let start = self.count.map(|_| Order::Go);
            if start.is_none() {
                crew.order(|_| Order::Go);
                crew.hold(WARM_UP, |_| ());
            }
            span = run::measure(plan, &crew, &gauges, self.time, start);
        }
        let mut report = self.report(plan, ramp, &span, run::gather(crew)?)?;
        if !ready {
            report
                .shortfalls
                .push("Nothing was published: no subscriber or no publisher could connect.".to_owned());
        }
        Ok(report)
    }

    /// At full speed wake-ups are gathered; at a rate it is latency that is asked for.
    fn nap(&self) -> Duration {
        if self.rate.is_some() { Duration::ZERO } else { Duration::from_millis(2) }
    }

    fn press(&self) -> Press {
        Press::new(&self.channel, self.payload_bytes, self.in_flight, self.rate, self.count)
    }

    fn report(
        &self,
        plan: &Plan,
        ramp: Duration,
        span: &Span,
        all: Gathered<Crowd>,
    ) -> Result<Report, String> {
        let mut report = Report::new("fanout", &plan.target.url);
        report.setting = plan.setting();
        report.setting.push(("in flight", self.in_flight.to_string()));
        report.setting.push(("payload", format!("{} B", self.payload_bytes)));
        if let Some(rate) = self.rate {
            report.setting.push(("rate", format!("{rate}/s")));
        }
        report.setting.push(("nap", format!("{} ms", plan.nap.unwrap_or_else(|| self.nap()).as_millis())));
        run::opening_figures(&mut report, all.open, ramp, &all.openings);
        run::rate_figures(&mut report, "deliveries", span.done, span);
        let mut latencies = latency::histogram();
        for task in &all.tasks {
            latencies.add(task.latencies()).map_err(|error| error.to_string())?;
        }
        run::latency_figures(&mut report, "delivery", &latencies);
        let press = all.tasks.first().and_then(Crowd::pressed).unwrap_or_default();
        report.figure("publications received by all", press.completed as f64, "", Basis::Count);
        run::latency_figures(&mut report, "publication until all have it", &press.spans);
        report.broken(&all.tally);
        report.errors =
            press.errors.iter().map(|&(code, count)| Row { cause: format!("error {code}"), count }).collect();
        if press.incomplete > 0 {
            report.shortfalls.push(format!(
                "{} publications did not reach every subscriber within {} s; {} deliveries are missing.",
                press.incomplete,
                PUBLICATION_TIMEOUT.as_secs(),
                tuning::grouped(press.missing),
            ));
        }
        if !press.errors.is_empty() {
            report.shortfalls.push(
                "The server refused to publish: allow it in the channel's namespace (allow_publish_for_client)."
                    .to_owned(),
            );
        }
        report.judge(all.own, plan.force);
        Ok(report)
    }
}
