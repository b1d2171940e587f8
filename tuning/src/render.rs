//! Text made of the table of limits: a table for people, and a `sysctl.conf`.

use std::fmt::Write;

use crate::table::{Lift, TABLE};
use crate::{Limit, Needs, Weight};

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

/// One line per limit: verdict, name, present, needed, and the fix where it is short.
pub fn table(limits: &[Limit]) -> String {
    let mut text = format!("{:<6} {:<32} {:>26} {:>16}\n", "", "limit", "present", "needed");
    for limit in limits {
        let verdict = match (limit.met(), limit.weight) {
            (true, _) => "ok",
            (false, Weight::Stops) => "STOPS",
            (false, Weight::Slows) => "slows",
        };
        let (present, needed) = (grouped(limit.present), grouped(limit.needed));
        let _ = writeln!(text, "{verdict:<6} {:<32} {present:>26} {needed:>16}", limit.name);
        if !limit.met() {
            let _ = writeln!(text, "       {}\n       fix: {}", limit.why, limit.fix);
        }
    }
    text
}

/// A `sysctl.conf` for `needs`, one reason per line.
pub fn sysctl(needs: &Needs) -> String {
    let mut text = format!(
        "# Kernel limits for {} connections on one edge: `headland-tuning sysctl --connections {}`.\n\
         # Copy to /etc/sysctl.d/90-headland.conf and run `sysctl --system`. What a machine lacks: `headland-tuning check`.\n",
        grouped(needs.connections),
        needs.connections,
    );
    for row in TABLE {
        let (Lift::Sysctl(value), Some(needed)) = (&row.lift, (row.needed)(needs)) else { continue };
        let _ = write!(text, "\n# {}.\n{} = {}\n", capitalised(row.why), row.name, value(needed));
    }
    text
}

fn capitalised(clause: &str) -> String {
    let mut chars = clause.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
