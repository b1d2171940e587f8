//! What errors mean and how they are counted.

use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn system_errors_are_named_by_what_they_mean_for_a_connection() {
    let of = |number: i32| Cause::of(&io::Error::from_raw_os_error(number), Stage::Connecting);
    assert_eq!(of(24), Cause::Descriptors);
    assert_eq!(of(23), Cause::Descriptors);
    assert_eq!(of(99), Cause::Ports);
    assert_eq!(of(105), Cause::Memory);
    assert_eq!(of(111), Cause::Refused);
    assert_eq!(of(104), Cause::Reset(Stage::Connecting));
    assert_eq!(of(110), Cause::Timeout(Stage::Connecting));
    assert_eq!(of(113), Cause::Unreachable);
    assert_eq!(of(1), Cause::System(1));
}

#[test]
fn only_what_this_machine_lacks_stops_the_opening() {
    assert!(Cause::Ports.is_final() && Cause::Descriptors.is_final());
    assert!(!Cause::Refused.is_final() && !Cause::Closed(3004).is_final());
}

#[test]
fn the_first_is_kept_and_said_with_its_fix() {
    let mut tally = Tally::default();
    tally.add(Cause::Ports, seconds(3), 14_116);
    tally.add(Cause::Refused, seconds(4), 14_116);
    let sentence = tally.broke_first().unwrap();
    assert_eq!(
        sentence,
        "First to break, after 3.0 s with 14,116 connections open on that thread: no port left on a source address \
         (EADDRNOTAVAIL). Give more source addresses that this machine has (--sources), or widen \
         net.ipv4.ip_local_port_range."
    );
}

#[test]
fn merging_keeps_the_earliest_and_adds_the_counts() {
    let (mut one, mut other) = (Tally::default(), Tally::default());
    one.add(Cause::Closed(3008), seconds(9), 1);
    other.add(Cause::Refused, seconds(2), 2);
    other.add(Cause::Closed(3008), seconds(5), 2);
    one.merge(other);
    assert_eq!(one.total(), 3);
    assert_eq!(one.rows(), [("closed with code 3008".to_owned(), 2), ("connection refused".to_owned(), 1)]);
    assert!(one.broke_first().unwrap().contains("connection refused"));
    let mut empty = Tally::default();
    empty.merge(one.clone());
    assert_eq!(empty, one);
    one.merge(Tally::default());
    assert_eq!(empty, one);
}

#[test]
fn the_number_of_different_causes_is_bounded() {
    let mut tally = Tally::default();
    for code in 0..200 {
        tally.add(Cause::Closed(3000 + code), seconds(1), 0);
    }
    assert_eq!(tally.total(), 200);
    assert_eq!(tally.rows().len(), CODES_MAX + 1);
    assert_eq!(tally.rows()[0], ("other causes".to_owned(), 200 - CODES_MAX as u64));
}

#[test]
fn nothing_broken_is_nothing_said() {
    assert_eq!(Tally::default().broke_first(), None);
}
