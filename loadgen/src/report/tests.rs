//! What is shown, withheld and returned.

use std::time::Duration;

use super::*;
use crate::cause::Cause;

fn report() -> Report {
    let mut report = Report::new("fanout", "wss://127.0.0.1:1/x");
    report.setting.push(("connections", "2000".to_owned()));
    report.figure("deliveries", 80_000.0, "", Basis::Count);
    report.figure("deliveries per server CPU-second", 123_456.7, "/s", Basis::Server);
    report.figure("latency p99", 12.34, "ms", Basis::Clock);
    report
}

fn saturated() -> Vec<OwnLoad> {
    vec![OwnLoad::default(), OwnLoad { busy: 0.7, waiting: 0.25, turn_p99_ms: 3.0 }]
}

#[test]
fn a_calm_generator_reports_everything() {
    let mut report = report();
    report.judge(vec![OwnLoad { busy: 0.5, waiting: 0.1, turn_p99_ms: 3.0 }], false);
    assert_eq!(report.outcome(), Outcome::Good);
    assert!(report.table().contains("12.3 ms") && !report.table().contains("bottleneck"));
}

#[test]
fn a_saturated_generator_withholds_what_rests_on_the_clock_and_nothing_else() {
    let mut report = report();
    report.judge(saturated(), false);
    assert_eq!(report.outcome(), Outcome::Withheld);
    assert_eq!(report.value("latency p99"), None);
    assert_eq!(report.value("deliveries per server CPU-second"), Some(123_456.7));
    let text = report.table();
    assert!(
        text.contains("withheld") && text.contains("thread 1 ran 70 %") && text.contains("--force"),
        "{text}"
    );
    assert!(report.json().contains("\"value\": null"));
}

#[test]
fn force_gives_them_as_doubtful() {
    let mut report = report();
    report.judge(saturated(), true);
    assert_eq!(report.outcome(), Outcome::Good);
    assert_eq!(report.value("latency p99"), Some(12.34));
    assert!(report.table().contains("(doubtful)"));
}

#[test]
fn anything_broken_is_an_outcome_of_its_own_with_its_sentence() {
    let mut tally = Tally::default();
    tally.add(Cause::Refused, Duration::from_secs(1), 0);
    let mut report = report();
    report.broken(&tally);
    report.judge(Vec::new(), false);
    assert_eq!(report.outcome(), Outcome::Broken);
    assert!(report.table().contains("First to break"));

    let mut short = self::report();
    short.shortfalls.push("Not everybody received the publication.".to_owned());
    assert_eq!(short.outcome(), Outcome::Broken);
}

#[test]
fn json_has_settings_by_name_and_figures_with_their_basis() {
    let value: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
    assert_eq!(value["setting"]["connections"], "2000");
    assert_eq!(value["figures"][1]["basis"], "server");
    assert_eq!(value["figures"][2]["unit"], "ms");
}

#[test]
fn numbers_have_the_digits_that_matter() {
    assert_eq!([0.1234, 12.345, 1234.5, 7.0, -1500.0].map(number), ["0.123", "12.3", "1,235", "7", "-1,500"]);
}
