//! `idle`: opens connections, holds them and answers pings; at the end, if asked, tells every channel once and counts who heard it.

mod keeper;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::crew::Crew;
use crate::limits::PING_GRACE;
use crate::manner::Goal;
use crate::options::IdleArgs;
use crate::pattern::Pattern;
use crate::plan::{Plan, rate, seconds};
use crate::progress::Progress;
use crate::report::{Basis, Report, Row};
use crate::run::{self, Gathered, Span};
use crate::task::{Gauges, Order};
use crate::who::Who;
use keeper::{Keeper, Told};

/// Connections to hold.
#[derive(Debug, Clone)]
pub struct Idle {
    rate: f64,
    channel: Option<Pattern>,
    time: Duration,
    broadcast: bool,
    patience: Duration,
    recover_from: Option<u64>,
    steps: Vec<u32>,
    settle: Duration,
}

/// The server's memory with so many connections open.
#[derive(Debug, Clone, Copy)]
struct Step {
    asked: u32,
    open: u64,
    private_bytes: u64,
}

/// What was seen on the way.
#[derive(Debug, Default)]
struct Course {
    ramp: Duration,
    opened: u64,
    steps: Vec<Step>,
    held: Span,
    /// How many should hear the final broadcast.
    audience: Option<u64>,
}

impl Idle {
    pub(super) fn new(args: &IdleArgs) -> Result<(Plan, Self), String> {
        let plan = Plan::new(&args.common, args.connections, 2)?;
        if !args.steps.is_sorted() || args.steps.iter().any(|&step| step == 0 || step > args.connections) {
            return Err("--steps must rise and end at or below --connections".to_owned());
        }
        let this = Self {
            rate: rate("--rate", args.rate)?,
            channel: args.subscribe.as_deref().map(Pattern::parse).transpose()?,
            time: seconds("--seconds", args.seconds)?,
            broadcast: args.final_broadcast,
            patience: seconds("--patience", args.patience)?,
            recover_from: args.recover_from,
            steps: args.steps.clone(),
            settle: seconds("--settle", args.settle)?,
        };
        Ok((plan, this))
    }

    pub(super) fn run(&self, plan: &Plan) -> Result<Report, String> {
        let gauges = Arc::new(Gauges::default());
        let nonce = format!("{{\"final\":\"{:016x}\"}}", fresh());
        let crew = Crew::start(plan.briefs(Goal::Greeted, Duration::ZERO), &gauges, |brief, _| {
            let channels = self.channel.as_ref().filter(|_| self.broadcast && brief.thread == 0);
            let distinct = |pattern: &Pattern| (pattern.clone(), pattern.distinct(plan.connections));
            let mut who = Who::new(plan.credentials.clone(), self.channel.clone());
            who.recovers_from = self.recover_from;
            Keeper::new(who, channels.map(distinct), nonce.clone(), Arc::clone(&gauges))
        })
        .map_err(|error| error.to_string())?;
        let mut course = Course::default();
        self.climb(plan, &crew, &gauges, &mut course);
        course.held = run::measure(plan, &crew, &gauges, self.time, None);
        if self.broadcast {
            course.audience = Some(self.tell(plan, &crew, &gauges));
        }
        let all = run::gather(crew)?;
        self.report(plan, &course, all)
    }

    /// Opens everything, with a pause and a look at each step.
    fn climb(&self, plan: &Plan, crew: &Crew<Keeper>, gauges: &Gauges, course: &mut Course) {
        for &step in &self.steps {
            course.ramp += run::ramp(plan, crew, step, self.rate);
            crew.hold(self.settle, |_| ());
            if let Some(private_bytes) = plan.server.usage().and_then(|usage| usage.private_bytes) {
                course.steps.push(Step { asked: step, open: gauges.open.load(Relaxed), private_bytes });
            }
        }
        if self.steps.last() != Some(&plan.connections) {
            course.ramp += run::ramp(plan, crew, plan.connections, self.rate);
        }
        course.opened = gauges.opened.load(Relaxed);
    }

    /// Publishes to every channel and waits for everybody to hear it. Returns how many should.
    fn tell(&self, plan: &Plan, crew: &Crew<Keeper>, gauges: &Gauges) -> u64 {
        let audience = gauges.open.load(Relaxed);
        if !run::publisher(plan, crew) {
            return audience;
        }
        let progress = Progress::new("final broadcast", audience);
        crew.order(|_| Order::Broadcast);
        crew.until(self.patience, |gauges| {
            let told = gauges.done.load(Relaxed);
            progress.at(told);
            told >= gauges.open.load(Relaxed) || gauges.complete.load(Relaxed)
        });
        audience
    }

    fn report(&self, plan: &Plan, course: &Course, mut all: Gathered<Keeper>) -> Result<Report, String> {
        let mut report = Report::new("idle", &plan.target.url);
        report.setting = plan.setting();
        report.setting.push(("held", format!("{} s", self.time.as_secs_f64())));
        run::opening_figures(&mut report, course.opened, course.ramp, &all.openings);
        report.figure("connections open at the end", all.open as f64, "", Basis::Count);
        let lost = course.opened.saturating_sub(all.open);
        report.figure("connections lost", lost as f64, "", Basis::Count);
        self.server_figures(course, &mut report);
        if all.open > 0 {
            let own = all.connection_bytes as f64 / all.open as f64;
            report.figure("load generator bytes per connection", own, "B", Basis::Count);
        }
        if self.recover_from.is_some() {
            recovery_figures(course.opened, &all.tasks, &mut report);
        }
        let asked = u64::from(plan.connections);
        if course.opened < asked {
            report.shortfalls.push(format!("{} of {asked} connections were opened.", course.opened));
        }
        silence(&all, &mut report);
        let told = Told::sum(&mut all.tasks);
        if let Some(audience) = course.audience {
            broadcast_figures(audience, &told, &mut report);
        }
        report.broken(&all.tally);
        report.errors =
            told.errors.iter().map(|&(code, count)| Row { cause: format!("error {code}"), count }).collect();
        report.judge(all.own, plan.force);
        Ok(report)
    }

    fn server_figures(&self, course: &Course, report: &mut Report) {
        for step in &course.steps {
            let name = format!("server private bytes at {} connections", step.asked);
            report.figure(&name, step.private_bytes as f64, "B", Basis::Server);
        }
        if let [first, .., last] = course.steps[..]
            && last.open > first.open
        {
            let grown = last.private_bytes as f64 - first.private_bytes as f64;
            let slope = grown / (last.open - first.open) as f64;
            report.figure("server private bytes per connection (slope)", slope, "B", Basis::Server);
        }
        let Span { wall, cpu, .. } = course.held;
        report.figure("held", wall.as_secs_f64(), "s", Basis::Count);
        let Some(cpu) = cpu.map(|cpu| cpu.as_secs_f64()) else { return };
        report.figure("server CPU while held", cpu, "s", Basis::Server);
        if !wall.is_zero() && course.opened > 0 {
            let each = cpu / wall.as_secs_f64() * 1e5 / course.opened as f64;
            report.figure("server CPU per 100000 connections", each * 100.0, "% of a core", Basis::Server);
        }
    }
}

/// Connections that should have been pinged and were not.
fn silence(all: &Gathered<Keeper>, report: &mut Report) {
    let ping_s = all.tasks.iter().map(Keeper::ping_s).max().unwrap_or(0);
    if ping_s == 0 {
        return;
    }
    let limit = ping_s.saturating_add(u32::try_from(PING_GRACE.as_secs()).unwrap_or(0));
    let silent = all.silence_s.iter().filter(|&&silence_s| silence_s > limit).count();
    report.figure("connections silent past their ping", silent as f64, "", Basis::Count);
    if silent > 0 {
        report.shortfalls.push(format!("{silent} open connections heard nothing for more than {limit} s."));
    }
}

fn recovery_figures(opened: u64, tasks: &[Keeper], report: &mut Report) {
    let (count, publications) =
        tasks.iter().map(Keeper::recovered).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    report.figure("recovered", count as f64, "", Basis::Count);
    report.figure("publications recovered", publications as f64, "", Basis::Count);
    if count < opened {
        report.shortfalls.push(format!("{} of {opened} did not recover everything.", opened - count));
    }
}

fn broadcast_figures(audience: u64, told: &Told, report: &mut Report) {
    report.figure("final broadcast received by", told.count as f64, "", Basis::Count);
    if let Some(last) = told.last {
        report.figure("final broadcast, last received after", last.as_secs_f64() * 1e3, "ms", Basis::Clock);
    }
    if told.count < audience {
        let refused: u64 = told.errors.iter().map(|&(_, count)| count).sum();
        let why = match (told.began, refused) {
            (false, _) => ": the publisher's own connection did not open",
            (true, 0) => "",
            (true, _) => {
                ": the server refused to publish; allow it in the channel's namespace (allow_publish_for_client)"
            }
        };
        report.shortfalls.push(format!(
            "The final broadcast reached {} of {} connections{why}.",
            tuning::grouped(told.count),
            tuning::grouped(audience)
        ));
    }
}

/// A number that no earlier run has used.
#[allow(clippy::disallowed_methods, reason = "only to differ from earlier runs")]
fn fresh() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64).rotate_left(16) ^ u64::from(std::process::id())
}
