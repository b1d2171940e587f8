//! What a run found: figures with what they rest on, what broke, and whether to believe it. Prints a table or JSON.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use serde::{Serialize, Serializer};

use crate::cause::Tally;
use crate::own::OwnLoad;

/// What a figure rests on, which says whether a busy load generator spoils it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A count: right however long it took.
    Count,
    /// How this run went, by the clock; says nothing about what the server could do.
    Run,
    /// The server's own CPU time or memory: right even when this program was the slower end.
    Server,
    /// The clock: wrong when this program was the slower end.
    Clock,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// In plain words; the same in every run.
    pub name: String,
    /// `None` when it was withheld.
    pub value: Option<f64>,
    /// Of the value.
    pub unit: &'static str,
    /// What it rests on.
    pub basis: Basis,
    /// Given although the load generator was itself the bottleneck.
    pub doubtful: bool,
}

/// Counts of one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// In words.
    pub cause: String,
    /// How often.
    pub count: u64,
}

/// All of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `idle`, `fanout`, `rpc` or `handshake`.
    pub mode: &'static str,
    /// The server's address.
    pub url: String,
    /// What was asked, as name and value.
    #[serde(serialize_with = "pairs")]
    pub setting: Vec<(&'static str, String)>,
    /// What was found.
    pub figures: Vec<Figure>,
    /// Connections that failed or ended, and commands that were answered with errors, by cause.
    pub failures: Vec<Row>,
    /// Error replies to the measured commands, which are answers.
    pub errors: Vec<Row>,
    /// One sentence, with what to do about it.
    pub broke_first: Option<String>,
    /// What did not go as asked besides connections that failed, as sentences.
    pub shortfalls: Vec<String>,
    /// This program's threads in the measured time.
    pub own: Vec<OwnLoad>,
    /// Why figures that rest on the clock are in doubt.
    pub doubts: Vec<String>,
}

/// How a run ended, as the process says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything as asked.
    Good = 0,
    /// Connections failed or ended, or something was not delivered.
    Broken = 1,
    /// The load generator was the bottleneck, so figures were withheld.
    Withheld = 3,
}

impl Report {
    /// Nothing found yet.
    pub fn new(mode: &'static str, url: &str) -> Self {
        Self {
            mode,
            url: url.to_owned(),
            setting: Vec::new(),
            figures: Vec::new(),
            failures: Vec::new(),
            errors: Vec::new(),
            broke_first: None,
            shortfalls: Vec::new(),
            own: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn figure(&mut self, name: &str, value: f64, unit: &'static str, basis: Basis) {
        debug_assert!(value.is_finite(), "{name}");
        let value = Some(value).filter(|value| value.is_finite());
        self.figures.push(Figure { name: name.to_owned(), value, unit, basis, doubtful: false });
    }

    /// The value of a figure that was not withheld.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name)?.value
    }

    /// Takes over what went wrong.
    pub fn broken(&mut self, tally: &Tally) {
        self.broke_first = tally.broke_first();
        self.failures = tally.rows().into_iter().map(|(cause, count)| Row { cause, count }).collect();
    }

    /// Judges this program's own part. Figures that rest on the clock are withheld when it was the bottleneck, or, `force`d,
    /// given as doubtful.
    pub fn judge(&mut self, own: Vec<OwnLoad>, force: bool) {
        self.doubts = own.iter().enumerate().filter_map(|(thread, load)| load.doubt(thread)).collect();
        self.own = own;
        if self.doubts.is_empty() {
            return;
        }
        for figure in self.figures.iter_mut().filter(|figure| figure.basis == Basis::Clock) {
            figure.doubtful = true;
            if !force {
                figure.value = None;
            }
        }
    }

    /// How the process should end.
    pub fn outcome(&self) -> Outcome {
        if !self.failures.is_empty() || !self.shortfalls.is_empty() {
            return Outcome::Broken;
        }
        let withheld = self.figures.iter().any(|figure| figure.value.is_none());
        if withheld { Outcome::Withheld } else { Outcome::Good }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!("\n{} {}\n", self.mode, self.url);
        let setting: Vec<String> =
            self.setting.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let _ = writeln!(text, "{}\n", setting.join(", "));
        for figure in &self.figures {
            let value = figure.value.map_or_else(|| "withheld".to_owned(), number);
            let mark = if figure.doubtful && figure.value.is_some() { "  (doubtful)" } else { "" };
            let _ = writeln!(text, "  {:<44} {value:>14} {}{mark}", figure.name, figure.unit);
        }
        for (title, rows) in [("Failures", &self.failures), ("Error replies", &self.errors)] {
            if !rows.is_empty() {
                let _ = writeln!(text, "\n{title}");
            }
            for row in rows {
                let _ = writeln!(text, "  {:<44} {:>14}", row.cause, tuning::grouped(row.count));
            }
        }
        for sentence in self.broke_first.iter().chain(&self.shortfalls) {
            let _ = writeln!(text, "\n{sentence}");
        }
        if !self.doubts.is_empty() {
            let _ = writeln!(text, "\nThe load generator was itself the bottleneck:");
            for doubt in &self.doubts {
                let _ = writeln!(text, "  {doubt}");
            }
            let advice = if self.figures.iter().any(|figure| figure.value.is_none()) {
                "Figures that rest on the clock are withheld (--force shows them). Use more threads or another machine."
            } else {
                "Figures that rest on the clock are doubtful. Use more threads or another machine."
            };
            let _ = writeln!(text, "{advice}");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("invariant: numbers and text")
    }
}

/// As many digits as matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e3 || value.fract() == 0.0 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", tuning::grouped(size.round() as u64))
        }
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn pairs<S: Serializer>(pairs: &[(&'static str, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}
