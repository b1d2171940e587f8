//! `rpc`: connections that each keep so many commands in flight and wait for the replies. An error reply is an answer, counted
//! by its code.

mod asker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::crew::Crew;
use crate::latency;
use crate::limits::{IN_FLIGHT_MAX, PAYLOAD_BYTES_MAX};
use crate::manner::Goal;
use crate::options::{CommandKind, RpcArgs};
use crate::pattern::Pattern;
use crate::plan::{Plan, rate, seconds};
use crate::report::{Basis, Report, Row};
use crate::run;
use crate::task::{Gauges, Order};
use crate::who::Who;
use asker::{Asker, Question};

/// Commands and replies.
#[derive(Debug, Clone)]
pub struct Rpc {
    question: Question,
    in_flight: usize,
    channel: Option<Pattern>,
    time: Duration,
    ramp: f64,
}

/// A second for caches and the server's threads to settle.
const WARM_UP: Duration = Duration::from_secs(1);

/// Commands in flight on one connection: ids tell them apart.
const _: () = assert!(IN_FLIGHT_MAX < u32::MAX as usize);

impl Rpc {
    pub(super) fn new(args: &RpcArgs) -> Result<(Plan, Self), String> {
        let plan = Plan::new(&args.common, args.connections, 1)?;
        if args.in_flight == 0 || args.in_flight > IN_FLIGHT_MAX {
            return Err(format!("--in-flight must be between 1 and {IN_FLIGHT_MAX}"));
        }
        if args.payload > PAYLOAD_BYTES_MAX {
            return Err(format!("--payload must be at most {PAYLOAD_BYTES_MAX} bytes"));
        }
        let channel = Pattern::parse(&args.channel)?;
        let this = Self {
            question: Question::new(args.command, &args.method, channel.clone(), args.payload),
            in_flight: args.in_flight,
            channel: Some(channel).filter(|_| args.command != CommandKind::Rpc),
            time: seconds("--seconds", args.seconds)?,
            ramp: rate("--ramp", args.ramp)?,
        };
        Ok((plan, this))
    }

    pub(super) fn run(&self, plan: &Plan) -> Result<Report, String> {
        let gauges = Arc::new(Gauges::default());
        let crew = Crew::start(plan.briefs(Goal::Greeted, Duration::ZERO), &gauges, |_, _| {
            let who = Who::new(plan.credentials.clone(), self.channel.clone());
            Asker::new(who, self.question.clone(), self.in_flight, Arc::clone(&gauges))
        })
        .map_err(|error| error.to_string())?;
        let took = run::ramp(plan, &crew, plan.connections, self.ramp);
        crew.order(|_| Order::Go);
        crew.hold(WARM_UP, |_| ());
        let span = run::measure(plan, &crew, &gauges, self.time, None);
        let all = run::gather(crew)?;

        let mut report = Report::new("rpc", &plan.target.url);
        report.setting = plan.setting();
        report.setting.push(("command", self.question.name().to_owned()));
        report.setting.push(("in flight", self.in_flight.to_string()));
        run::opening_figures(&mut report, all.open, took, &all.openings);
        run::rate_figures(&mut report, "replies", span.done, &span);
        let (mut latencies, mut errors) = (latency::histogram(), BTreeMap::<u32, u64>::new());
        for task in &all.tasks {
            latencies.add(task.latencies()).map_err(|error| error.to_string())?;
            for &(code, count) in task.errors() {
                *errors.entry(code).or_default() += count;
            }
        }
        run::latency_figures(&mut report, "reply", &latencies);
        report.figure("error replies", errors.values().sum::<u64>() as f64, "", Basis::Count);
        report.errors =
            errors.iter().map(|(code, &count)| Row { cause: format!("error {code}"), count }).collect();
        report.broken(&all.tally);
        if span.done == 0 {
            report.shortfalls.push("No reply came in the measured time.".to_owned());
        }
        report.judge(all.own, plan.force);
        Ok(report)
    }
}
