//! The window, the rate and the ends of publications.

use super::*;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn press(window: usize, rate: Option<f64>, count: Option<u64>) -> Press {
    let mut press = Press::new("c", 64, window, rate, count);
    press.set_publisher(Some(0));
    press.run(at(0));
    press.measure(true);
    press
}

/// Runs a turn and returns how many publications it sent.
fn turn(press: &mut Press, board: &Board, ms: u64) -> usize {
    let mut post = Post::default();
    press.turn(board, &mut post, at(ms));
    post.messages().map(|(_, text)| text.split(|&byte| byte == b'\n').count()).sum()
}

fn board(subscribers: u32) -> Board {
    let board = Board::new();
    (0..subscribers).for_each(|_| board.enter());
    board
}

#[test]
fn a_payload_is_json_of_the_size_asked_for_and_tells_its_number() {
    let mut data = Vec::new();
    for (value, bytes) in [(0, 32), (u64::MAX / 2, 128), (77, 60_000)] {
        fill(&mut data, value, bytes);
        assert_eq!(data.len(), bytes);
        assert_eq!(number(&data), Some(value));
        assert!(serde_json::from_slice::<serde_json::Value>(&data).is_ok());
    }
    assert_eq!(number(b"{\"text\":1}"), None);
}

#[test]
fn the_window_is_kept_full_and_one_flies_until_everybody_has_it() {
    let (board, mut press) = (board(3), press(2, None, None));
    assert_eq!(turn(&mut press, &board, 0), 2);
    assert_eq!(turn(&mut press, &board, 1), 0);
    board.deliver(0, 2);
    assert_eq!(turn(&mut press, &board, 2), 0);
    board.deliver(0, 1);
    assert_eq!(turn(&mut press, &board, 3), 1);
    assert_eq!(press.pressed().completed, 1);
}

#[test]
fn a_subscriber_that_left_is_not_waited_for() {
    let (board, mut press) = (board(3), press(1, None, None));
    turn(&mut press, &board, 0);
    board.deliver(0, 2);
    board.leave();
    assert_eq!(turn(&mut press, &board, 1), 1);
}

#[test]
fn what_takes_too_long_is_given_up_and_counted() {
    let (board, mut press) = (board(3), press(1, None, None));
    turn(&mut press, &board, 0);
    board.deliver(0, 1);
    assert_eq!(turn(&mut press, &board, PUBLICATION_TIMEOUT.as_millis() as u64 + 1), 1);
    let pressed = press.pressed();
    assert_eq!((pressed.incomplete, pressed.missing), (1, 2));
}

#[test]
fn a_rate_spaces_publications_and_never_makes_up_for_a_pause_in_a_burst() {
    let (board, mut press) = (board(0), press(100, Some(100.0), None));
    let sent: usize = (0..100).map(|ms| turn(&mut press, &board, ms)).sum();
    assert!((9..=11).contains(&sent), "{sent}");
    assert!(turn(&mut press, &board, 60_000) <= 3);
    assert!(press.deadline().is_some());
}

#[test]
fn a_count_ends_it() {
    let (board, mut press) = (board(0), press(2, None, Some(3)));
    let sent: usize = (0..9).map(|ms| turn(&mut press, &board, ms)).sum();
    assert_eq!(sent, 3);
    assert!(press.is_done());
}

#[test]
fn a_refused_publication_makes_room_and_is_counted_by_code() {
    let (board, mut press) = (board(1), press(1, None, None));
    turn(&mut press, &board, 0);
    press.refused(command_id(0), 103);
    assert_eq!(turn(&mut press, &board, 1), 1);
    assert_eq!(press.pressed().errors, [(103, 1)]);
}

#[test]
fn nothing_is_sent_without_a_publisher_or_after_the_measured_time() {
    let (board, mut press) = (board(1), press(1, None, None));
    press.set_publisher(None);
    assert_eq!(turn(&mut press, &board, 0), 0);
    press.set_publisher(Some(4));
    press.measure(false);
    assert_eq!(turn(&mut press, &board, 1), 0);
}
