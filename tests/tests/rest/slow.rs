//! Clients that take their time: each is ended when relay/REST.md says, and told why where there is a request to answer.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tests::wait;

use crate::room::{Room, room};

/// As documented.
const HEADER_WITHIN: Duration = Duration::from_secs(30);
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(500);
/// Tens of megabytes of answers.
const ANSWERS: usize = 1000;
/// How much later an end may come.
const LATE: Duration = Duration::from_secs(60);

/// Sends `begin`, then `more` again and again, until the node ends the connection. What it said, and after how long.
fn ended(room: &Room, begin: &str, more: &str) -> (String, Duration) {
    let began = wait::now();
    let mut connection = TcpStream::connect(room.node.http).unwrap();
    connection.set_read_timeout(Some(PAUSE)).unwrap();
    connection.write_all(begin.as_bytes()).unwrap();
    let (mut said, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&bytes[..count]),
            // What it does not take any more, it has ended.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let _ = connection.write_all(more.as_bytes());
            }
            Err(_) => break,
        }
        assert!(began.elapsed() < HEADER_WITHIN + LATE, "it goes on for ever");
    }
    (String::from_utf8(said).unwrap(), began.elapsed())
}

/// Asks for more than fits on the way and takes none of it, until the node ends the connection; after how long.
fn untaken(room: &Room) -> Duration {
    let began = wait::now();
    let mut connection = TcpStream::connect(room.node.http).unwrap();
    SockRef::from(&connection).set_recv_buffer_size(4096).unwrap();
    connection
        .write_all("GET /openapi.json HTTP/1.1\r\nhost: node\r\n\r\n".repeat(ANSWERS).as_bytes())
        .unwrap();
    while connection.write(b"\r\n").is_ok() {
        assert!(began.elapsed() < TAKEN_WITHIN + LATE, "it goes on for ever");
        wait::pause(PAUSE);
    }
    began.elapsed()
}

#[test]
fn who_is_too_slow_is_ended_in_time() {
    let room = &room();
    let post = format!(
        "POST {} HTTP/1.1\r\nhost: node\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{",
        room.messages(""),
        room.ann.token()
    );
    thread::scope(|scope| {
        let start = |begin: &'static str, more| scope.spawn(move || ended(room, begin, more));
        let header = start("GET /health HTTP/1.1\r\nhost: node\r\n", "x-more: 1\r\n");
        let silent = start("", "");
        let kept = start("GET /health HTTP/1.1\r\nhost: node\r\n\r\n", "");
        let untaken = scope.spawn(|| untaken(room));
        let (said, after) = ended(room, &post, " ");
        assert!(said.starts_with("HTTP/1.1 408 ") && said.contains("urn:headland:problem:late"), "{said}");
        assert!(after >= BODY_WITHIN, "{after:?}");
        for (slow, answer) in [(header, ""), (silent, ""), (kept, "HTTP/1.1 200 ")] {
            let (said, after) = slow.join().unwrap();
            assert!(said.starts_with(answer) && said.is_empty() == answer.is_empty(), "{said}");
            assert!(after >= HEADER_WITHIN, "{after:?}");
        }
        assert!(untaken.join().unwrap() >= TAKEN_WITHIN);
    });
}
