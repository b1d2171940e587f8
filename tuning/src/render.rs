//! Text made of the table of limits: a table for people, JSON for programs, and a `sysctl.conf`.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::rows::ROWS;
use crate::table::Mend;
use crate::{Limit, Needs, Reading, Survey, Want, Weight};

/// `number` with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// For people: a line per limit with verdict, name, present value and need, the reason and the fix where it is not met; then what the
/// kernel has counted, and what to do in one line.
pub fn text(survey: &Survey, needs: &Needs) -> String {
    let mut text = format!("{:<6} {:<34} {:>26}   {}\n", "", "limit", "present", "needed");
    for limit in &survey.limits {
        let Limit { name, present, needed, why, fix, .. } = limit;
        let _ = writeln!(text, "{:<6} {name:<34} {present:>26}   {needed}", verdict(limit));
        if !limit.met() {
            let _ = writeln!(text, "       {why}\n       fix: {fix}");
        }
    }
    if !survey.absent.is_empty() {
        let _ = writeln!(text, "not shown by this kernel: {}", survey.absent.join(", "));
    }
    text.push_str("not read here: ring sizes and coalescing of network cards (ethtool -g, ethtool -c)\n");
    if !survey.signs.is_empty() {
        text.push_str("\ncounted since this kernel started:\n");
    }
    for sign in &survey.signs {
        let _ = writeln!(text, "{:>12}  {:<22} {}", grouped(sign.count), sign.name, sign.meaning);
    }
    let short = survey.limits.iter().filter(|limit| limit.short()).count();
    let rate =
        if needs.rate == 0 { String::new() } else { format!(", {} new per second", grouped(needs.rate)) };
    let asked = format!("{} connections{rate}", grouped(needs.connections));
    let _ = match short {
        0 => writeln!(text, "\n{asked}: nothing is too low"),
        1 => writeln!(text, "\n{asked}: 1 limit is too low"),
        _ => writeln!(text, "\n{asked}: {short} limits are too low"),
    };
    text
}

/// For programs: the same. A number without a limit is `null`.
pub fn json(survey: &Survey, needs: &Needs) -> String {
    let limits: Vec<Value> = survey.limits.iter().map(limit).collect();
    let signs = survey.signs.iter();
    let signs: Vec<Value> = signs
        .map(|sign| json!({ "name": sign.name, "count": sign.count, "meaning": sign.meaning }))
        .collect();
    let value = json!({
        "connections": needs.connections,
        "rate": needs.rate,
        "tables": needs.tables,
        "fits": survey.fits(),
        "limits": limits,
        "absent": survey.absent,
        "signs": signs,
    });
    format!("{value:#}\n")
}

/// A `sysctl.conf` for `needs`, one reason per line.
pub fn sysctl(needs: &Needs) -> String {
    let mut text = format!(
        "# Kernel limits for {} connections on one edge: `headland-tuning sysctl --connections {}`.\n\
         # Copy to /etc/sysctl.d/90-headland.conf and run `sysctl --system`. What a machine lacks: `headland-tuning check`.\n\
         # Where a machine already has more of what is \"at least\", leave the line out.\n",
        grouped(needs.connections),
        needs.connections,
    );
    for row in ROWS {
        let (Mend::Sysctl(value), Some(needed)) = (&row.mend, (row.needed)(needs)) else { continue };
        let (why, name, value) = (capitalised(row.why), row.name, value(needed.number()));
        let _ = write!(text, "\n{}{name} = {value}\n", comment(&format!("{why} ({needed}).")));
    }
    text
}

fn verdict(limit: &Limit) -> &'static str {
    match (limit.met(), limit.weight) {
        (true, _) => "ok",
        (false, Weight::Stops) => "STOPS",
        (false, Weight::Slows) => "slows",
        (false, Weight::Helps) => "hint",
    }
}

fn limit(limit: &Limit) -> Value {
    let number = |number: u64| if number == u64::MAX { Value::Null } else { json!(number) };
    let present = match &limit.present {
        Reading::Number(found) => number(*found),
        Reading::Word(word) => json!(word),
    };
    let needed = match limit.needed {
        Want::AtLeast(least) => json!({ "at_least": least }),
        Want::AtMost(most) => json!({ "at_most": most }),
        Want::OneOf(words) => json!({ "one_of": words }),
    };
    json!({
        "name": limit.name,
        "present": present,
        "needed": needed,
        "verdict": verdict(limit).to_lowercase(),
        "why": limit.why,
        "fix": limit.fix,
    })
}

/// Lines of a comment, broken between words.
fn comment(text: &str) -> String {
    let mut lines = String::from("#");
    let mut width = 1;
    for word in text.split_whitespace() {
        if width + 1 + word.len() > COLUMNS {
            lines.push_str("\n#");
            width = 1;
        }
        lines.push(' ');
        lines.push_str(word);
        width += 1 + word.len();
    }
    lines.push('\n');
    lines
}

/// Width of a comment.
const COLUMNS: usize = 110;

fn capitalised(clause: &str) -> String {
    let mut chars = clause.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
