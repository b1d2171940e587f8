//! Each mode from command line to report, over real sockets.

use clap::Parser;

use super::peer::{Server, Temper, serve, server_tls};
use crate::mode::Mode;
use crate::options::Args;
use crate::report::{Outcome, Report};

fn run(server: &Server, line: &str) -> Report {
    mode(&server.url(), line).run().unwrap()
}

fn mode(url: &str, line: &str) -> Mode {
    let words = ["headland-loadgen"].into_iter().chain(line.split_whitespace()).chain(["--url", url]);
    Mode::new(&Args::try_parse_from(words).unwrap().mode).unwrap()
}

fn cause(report: &Report) -> &str {
    &report.failures.first().expect("something broke").cause
}

#[test]
fn idle_opens_holds_and_tells_everybody_once() {
    for tls in [false, true] {
        let server = serve(Temper { tls, ping_s: 25, ..Temper::default() });
        let line = "idle -n 60 --threads 3 --seconds 0.1 --insecure --subscribe room-{n%7} --final-broadcast --force";
        let report = run(&server, line);
        assert_eq!(report.outcome(), Outcome::Good, "{}", report.table());
        assert_eq!(report.value("connections opened"), Some(60.0));
        assert_eq!(report.value("connections open at the end"), Some(60.0));
        assert_eq!(report.value("connections lost"), Some(0.0));
        assert_eq!(report.value("final broadcast received by"), Some(60.0));
        assert_eq!(report.value("connections silent past their ping"), Some(0.0));
        assert!(report.value("final broadcast, last received after").is_some());
    }
}

#[test]
fn idle_trusts_a_server_by_the_certificate_it_is_given() {
    let server = serve(Temper { tls: true, ..Temper::default() });
    let file = std::env::temp_dir().join(format!("headland-loadgen-ca-{}.pem", std::process::id()));
    std::fs::write(&file, &server_tls().1).unwrap();
    let report = run(&server, &format!("idle -n 3 --seconds 0 --force --ca {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(report.outcome(), Outcome::Good, "{}", report.table());
}

#[test]
fn idle_takes_steps_and_gives_the_server_s_memory_at_each() {
    let server = serve(Temper::default());
    let pid = std::process::id();
    let report = run(
        &server,
        &format!("idle -n 40 --seconds 0 --force --steps 10,40 --settle 0.1 --server-pid {pid}"),
    );
    assert!(report.value("server private bytes at 10 connections").unwrap() > 0.0);
    assert!(report.value("server private bytes per connection (slope)").is_some());
    assert!(report.value("server CPU while held").is_some());
}

#[test]
fn idle_says_how_many_missed_the_broadcast() {
    let server = serve(Temper { skip: 2, ..Temper::default() });
    let report =
        run(&server, "idle -n 9 --seconds 0 --force --subscribe all --final-broadcast --patience 0.5");
    assert_eq!(report.outcome(), Outcome::Broken);
    assert!(
        report.shortfalls[0].starts_with("The final broadcast reached 7 of 9 connections"),
        "{:?}",
        report.shortfalls
    );
}

#[test]
fn idle_does_not_wait_for_a_broadcast_that_is_refused() {
    let server = serve(Temper { refuse_publish: Some(103), ..Temper::default() });
    let report =
        run(&server, "idle -n 5 --seconds 0 --force --subscribe all --final-broadcast --patience 600");
    assert!(report.shortfalls[0].contains("allow_publish_for_client"), "{:?}", report.shortfalls);
    assert_eq!(report.errors[0].cause, "error 103");
}

#[test]
fn what_the_server_does_is_named_as_the_first_to_break() {
    let refused = serve(Temper { refuse_subscribe: Some(103), ..Temper::default() });
    let report = run(&refused, "idle -n 4 --seconds 0 --force --subscribe secret");
    assert_eq!((cause(&report), report.failures[0].count), ("error reply 103", 4));
    assert!(report.broke_first.as_ref().unwrap().contains("namespace"));
    assert_eq!(report.shortfalls, ["0 of 4 connections were opened."]);

    let closed = serve(Temper { close: Some(3504), ..Temper::default() });
    let report = run(&closed, "idle -n 4 --seconds 0.2 --force");
    assert_eq!(cause(&report), "closed with code 3504");
}

#[test]
fn nobody_at_the_door_is_refused_and_said_so() {
    let server = serve(Temper::default());
    let url = server.url();
    server.stop();
    let report = mode(&url, "idle -n 4 --seconds 0 --force").run().unwrap();
    assert_eq!(cause(&report), "connection refused");
    assert!(report.broke_first.unwrap().contains("Start the server"));
}

#[test]
fn a_source_address_that_is_not_here_breaks_first() {
    let server = serve(Temper::default());
    let report = run(&server, "idle -n 50 --seconds 0 --force --sources 192.0.2.77");
    assert!(cause(&report).contains("EADDRNOTAVAIL"), "{}", report.table());
    assert!(report.failures[0].count <= 2, "a thread stops at the first: {:?}", report.failures);
}

#[test]
fn fanout_counts_every_delivery_and_its_latency() {
    let server = serve(Temper { tls: true, ..Temper::default() });
    let line =
        "fanout -n 20 --threads 2 --in-flight 4 --count 50 --seconds 30 --payload 200 --insecure --force";
    let report = run(&server, &format!("{line} --server-pid {}", std::process::id()));
    assert_eq!(report.outcome(), Outcome::Good, "{}", report.table());
    assert_eq!(report.value("connections opened"), Some(20.0));
    assert_eq!(report.value("deliveries"), Some(1000.0));
    assert_eq!(report.value("publications received by all"), Some(50.0));
    assert!(report.value("delivery p99").unwrap() > 0.0);
    assert!(report.value("deliveries per server CPU-second").unwrap() > 0.0);
}

#[test]
fn every_mode_speaks_protobuf_too() {
    let server = serve(Temper { ping_s: 25, ..Temper::default() });
    let idle =
        run(&server, "idle -n 10 --protobuf --seconds 0.1 --subscribe room-{n%3} --final-broadcast --force");
    assert_eq!(idle.outcome(), Outcome::Good, "{}", idle.table());
    assert_eq!(idle.value("final broadcast received by"), Some(10.0));
    let fanout = run(&server, "fanout -n 20 --protobuf --in-flight 4 --count 50 --seconds 30 --force");
    assert_eq!(fanout.outcome(), Outcome::Good, "{}", fanout.table());
    assert_eq!(fanout.value("deliveries"), Some(1000.0));
    let rpc = run(&server, "rpc -n 3 --protobuf --command publish --in-flight 3 --seconds 0.2 --force");
    assert_eq!(rpc.outcome(), Outcome::Good, "{}", rpc.table());
    assert_eq!(rpc.value("error replies"), Some(0.0));
}

#[test]
fn fanout_at_a_rate_publishes_at_that_rate() {
    let server = serve(Temper::default());
    let report = run(&server, "fanout -n 5 --in-flight 16 --rate 50 --seconds 1 --force");
    let deliveries = report.value("deliveries").unwrap();
    assert!((125.0..=300.0).contains(&deliveries), "about 50 times 5: {deliveries}");
}

#[test]
fn fanout_says_that_publishing_was_refused() {
    let server = serve(Temper { refuse_publish: Some(103), ..Temper::default() });
    let report = run(&server, "fanout -n 5 --seconds 0.2 --force");
    assert_eq!(report.outcome(), Outcome::Broken);
    assert_eq!(report.errors[0].cause, "error 103");
}

#[test]
fn rpc_counts_error_replies_as_answers() {
    let server = serve(Temper::default());
    let report = run(&server, "rpc -n 4 --in-flight 3 --seconds 0.3 --force");
    assert_eq!(report.outcome(), Outcome::Good, "{}", report.table());
    let (replies, errors) = (report.value("replies").unwrap(), report.value("error replies").unwrap());
    assert!(replies > 12.0 && errors > 0.0, "{replies} {errors}");
    assert_eq!(report.errors[0].cause, "error 108");
    assert!(report.value("reply p50").unwrap() > 0.0);
}

#[test]
fn rpc_can_publish_to_a_channel_per_connection() {
    let server = serve(Temper::default());
    let report = run(&server, "rpc -n 3 --command publish --seconds 0.2 --force");
    assert_eq!(report.outcome(), Outcome::Good, "{}", report.table());
    assert_eq!(report.value("error replies"), Some(0.0));
}

#[test]
fn handshake_opens_and_resets_again_and_again() {
    for (line, tls) in [("handshake", true), ("handshake --upgrade", true), ("handshake --upgrade", false)] {
        let server = serve(Temper { tls, ..Temper::default() });
        let report = run(&server, &format!("{line} --opening 8 --seconds 0.3 --insecure --force"));
        assert_eq!(report.outcome(), Outcome::Good, "{}", report.table());
        assert!(report.value("handshakes").unwrap() > 8.0);
        assert!(report.value("handshake p99").unwrap() > 0.0);
    }
}

#[test]
fn a_server_that_says_nothing_ends_in_a_report_and_not_in_a_hang() {
    let server = serve(Temper { deaf: true, ..Temper::default() });
    let report =
        run(&server, "handshake --upgrade --opening 2 --threads 1 --timeout 0.1 --seconds 0.1 --force");
    assert_eq!(report.outcome(), Outcome::Broken);
    assert!(report.shortfalls[0].contains("No handshake"));
}

#[test]
fn options_out_of_bounds_are_refused_before_anything_is_opened() {
    for line in [
        "idle -n 0",
        "idle -n 5 --rate=-1",
        "idle -n 5 --seconds=-1",
        "idle -n 5 --subscribe {x}",
        "idle -n 5 --steps 6 --server-pid 1",
        "fanout --in-flight 0",
        "fanout --payload 5",
        "rpc --in-flight 99999",
    ] {
        let words = ["x"].into_iter().chain(line.split_whitespace()).chain(["--url", "ws://127.0.0.1:1"]);
        assert!(Mode::new(&Args::try_parse_from(words).unwrap().mode).is_err(), "{line}");
    }
}
