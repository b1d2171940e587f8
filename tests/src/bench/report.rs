//! Runs a bench several times, takes medians, holds them against their targets and writes the result.

use std::fmt::{self, Display};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Bench, Options, machine, median};

/// One measured value of one run.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it must reach, if anything.
    pub target: Option<Target>,
}

/// What a figure must reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// Not more than.
    AtMost(f64),
    /// Not less than.
    AtLeast(f64),
}

impl Figure {
    /// A value that is only told.
    pub const fn told(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, target: None }
    }

    /// A value with a target.
    pub const fn aimed(name: &'static str, value: f64, unit: &'static str, target: Target) -> Self {
        Self { name, value, unit, target: Some(target) }
    }

    /// Whether the target is met; a value that is not a number meets none.
    pub fn met(&self) -> bool {
        match self.target {
            None => true,
            Some(Target::AtMost(bound)) => self.value <= bound,
            Some(Target::AtLeast(bound)) => self.value >= bound,
        }
    }

    fn json(&self) -> Value {
        let target = self.target.map(|target| target.to_string());
        let met = self.target.map(|_| self.met());
        json!({ "name": self.name, "value": self.value, "unit": self.unit, "target": target, "met": met })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
        }
    }
}

impl Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = format!("{:.*}", if self.value.abs() < 100.0 { 3 } else { 0 }, self.value);
        write!(f, "{:48} {value:>14} {:12}", self.name, self.unit)?;
        let Some(target) = self.target else { return Ok(()) };
        write!(f, " target {target}: {}", if self.met() { "met" } else { "NOT MET" })
    }
}

/// Measures; prints figures, writes JSON when asked, prints the verdict last. Whether every target is met.
pub fn measure(bench: &Bench, options: &Options, json_to: Option<&Path>) -> Result<bool> {
    let machine = machine::describe();
    let commit = machine::commit();
    println!("{}: {}", bench.name, bench.about);
    println!("commit {commit}\nmachine {machine}");
    let count = options.runs.unwrap_or(bench.runs).max(1);
    let mut runs = Vec::new();
    for number in 1..=count {
        let run = (bench.run)(options).with_context(|| format!("run {number} of {count}"))?;
        let values: Vec<String> = run.iter().map(|figure| format!("{:.3}", figure.value)).collect();
        println!("run {number} of {count}: {}", values.join("  "));
        runs.push(run);
    }
    let figures = medians(&runs);
    println!("medians of {count}:");
    figures.iter().for_each(|figure| println!("  {figure}"));
    let met = figures.iter().all(Figure::met);
    if let Some(path) = json_to {
        let list = |figures: &[Figure]| figures.iter().map(Figure::json).collect::<Vec<_>>();
        let runs: Vec<_> = runs.iter().map(|run| list(run)).collect();
        let result = json!({
            "bench": bench.name, "commit": commit, "machine": machine, "figures": list(&figures), "runs": runs,
        });
        let text = serde_json::to_string_pretty(&result)?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{}", verdict(bench.name, &figures));
    Ok(met)
}

/// The median of each figure over the runs; figures are those of the first run, in its order.
fn medians(runs: &[Vec<Figure>]) -> Vec<Figure> {
    let first = runs.first().cloned().unwrap_or_default();
    first
        .into_iter()
        .map(|mut figure| {
            let same = |run: &Vec<Figure>| {
                run.iter().find(|other| other.name == figure.name).map(|other| other.value)
            };
            figure.value = median(&runs.iter().filter_map(same).collect::<Vec<_>>());
            figure
        })
        .collect()
}

fn verdict(name: &str, figures: &[Figure]) -> String {
    let aimed = figures.iter().filter(|figure| figure.target.is_some());
    let words: Vec<String> = aimed
        .map(|figure| {
            let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
            let met = if figure.met() { "met" } else { "NOT MET" };
            format!("{} {:.2} {} ({target}: {met})", figure.name, figure.value, figure.unit)
        })
        .collect();
    format!("{name}: {}", if words.is_empty() { "measured, no target".to_owned() } else { words.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_medians_by_name_and_targets_are_held() {
        let run = |a: f64, b: f64| {
            vec![
                Figure::aimed("a", a, "B", Target::AtMost(2.0)),
                Figure::aimed("b", b, "x", Target::AtLeast(4.0)),
            ]
        };
        let figures = medians(&[run(1.0, 9.0), run(3.0, 1.0), run(2.0, 2.0)]);
        assert_eq!((figures[0].value, figures[1].value), (2.0, 2.0));
        assert!(figures[0].met() && !figures[1].met());
        assert_eq!(verdict("x", &figures), "x: a 2.00 B (<= 2: met); b 2.00 x (>= 4: NOT MET)");
        assert!(!Figure::aimed("c", f64::NAN, "", Target::AtMost(1.0)).met());
    }
}
