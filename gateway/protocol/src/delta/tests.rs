//! What is created is applied by the client side's decoder, written from the format's description. The SDKs' own decoders are met end to end.

use proptest::prelude::*;

use super::*;

fn applied(source: &[u8], target: &[u8]) -> Option<usize> {
    let delta = create(source, target)?;
    assert_eq!(apply(source, &delta).as_deref(), Some(target));
    assert!(delta.len() < target.len());
    if std::str::from_utf8(source).is_ok() && std::str::from_utf8(target).is_ok() {
        assert!(std::str::from_utf8(&delta).is_ok(), "a delta of texts is a text");
    }
    Some(delta.len())
}

fn scores(home: u32, away: u32) -> String {
    let players: Vec<String> = (0..22)
        .map(|n| format!(r#"{{"name":"Player {n}","goals":{},"run":{}}}"#, n % 3, n * 311 + home))
        .collect();
    format!(r#"{{"home":{home},"away":{away},"players":[{}],"minute":{}}}"#, players.join(","), home + away)
}

#[test]
fn a_small_change_is_a_small_delta() {
    let (before, after) = (scores(0, 0), scores(0, 1));
    let length = applied(before.as_bytes(), after.as_bytes()).unwrap();
    assert!(length * 20 < after.len(), "{length} of {}", after.len());
    let several = applied(before.as_bytes(), scores(1, 1).as_bytes()).unwrap();
    assert!(several * 2 < after.len(), "{several} of {}", after.len());
}

#[test]
fn what_has_moved_is_found() {
    let (one, two) = (scores(1, 2), scores(3, 4).to_uppercase());
    let (before, after) = (format!("{one}{two}"), format!("{two}, {one}"));
    assert!(applied(before.as_bytes(), after.as_bytes()).unwrap() < 100);
}

#[test]
fn there_is_no_delta_where_it_would_not_be_smaller() {
    for (source, target) in [("", "{}"), ("{}", "{}"), ("abc", ""), ("0123456789", "abcdefghijklmno")] {
        assert_eq!(create(source.as_bytes(), target.as_bytes()), None, "{target}");
    }
    let large = vec![b'x'; DELTA_BYTES_MAX + 1];
    assert_eq!(create(&large, &large), None);
    assert!(applied(&large[1..], &large[1..]).unwrap() < 40);
}

#[test]
fn characters_are_not_torn() {
    // The two characters share all bytes but the last.
    let (before, after) = ("é".repeat(40) + "☕☕☕☕", "é".repeat(40) + "☖☕☕☕");
    applied(before.as_bytes(), after.as_bytes()).unwrap();
}

#[test]
fn sources_of_equal_blocks_take_no_longer() {
    let (source, target) = (vec![b'a'; 60_000], vec![b'a'; 50_001]);
    assert!(applied(&source, &target).is_some());
    let mut other = vec![b'a'; 60_000];
    other.iter_mut().step_by(97).for_each(|byte| *byte = b'b');
    let _ = applied(&source, &other);
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"price\":1234.5,".to_owned()),
        Just("größe🦀☕ ".to_owned()),
        ".{0,12}",
        Just("abcdefghijklmnop".to_owned())
    ]
}

proptest! {
    #[test]
    fn texts_of_like_pieces_are_made_of_each_other(
        before in proptest::collection::vec(piece(), 0..40), after in proptest::collection::vec(piece(), 0..40)
    ) {
        applied(before.concat().as_bytes(), after.concat().as_bytes());
    }

    #[test]
    fn bytes_with_changes_are_made_of_the_bytes_before(
        before in proptest::collection::vec(any::<u8>(), 0..600),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 0..8)
    ) {
        let mut after = before.clone();
        for (place, byte, kind) in changes {
            let at = place.index(after.len() + 1);
            match kind {
                0 => after.insert(at, byte),
                1 if at < after.len() => { after.remove(at); }
                _ => if let Some(old) = after.get_mut(at) { *old = byte },
            }
        }
        applied(&before, &after);
    }

    #[test]
    fn any_bytes_are_a_delta_or_none(
        source in proptest::collection::vec(any::<u8>(), 0..60), delta in "[0-9A-Za-z_~@,:;\n]{0,60}"
    ) {
        let _ = apply(&source, delta.as_bytes());
    }
}
