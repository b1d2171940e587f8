//! The kernel's edges as the loop relies on them, on real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use super::*;
use crate::{EVENTS_DEFAULT, ListenOptions, listen, local_addr};

const PATIENCE: Duration = Duration::from_secs(10);
const NONE_NOW: Duration = Duration::ZERO;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A kernel, a connection accepted through it and watched as token 7, and the blocking peer of that connection.
fn connected() -> (Kernel, Handle, TcpStream) {
    let mut kernel = Kernel::new(EVENTS_DEFAULT).unwrap();
    let listener = listen(loopback(), &ListenOptions::default()).unwrap();
    kernel.watch(listener, 1).unwrap();
    let peer = TcpStream::connect(local_addr(listener).unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    until(&mut kernel, |ready| ready.token == 1 && ready.readable);
    let (handle, from) = kernel.accept(listener).unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
    kernel.watch(handle, 7).unwrap();
    kernel.close(listener);
    (kernel, handle, peer)
}

/// Waits for an event that `wanted` accepts.
fn until(kernel: &mut Kernel, wanted: impl Fn(&Ready) -> bool) -> Ready {
    let mut ready = Vec::new();
    let deadline = kernel.now() + PATIENCE;
    while kernel.now() < deadline {
        kernel.wait(&mut ready, Duration::from_millis(100)).unwrap();
        if let Some(found) = ready.iter().find(|one| wanted(one)) {
            return *found;
        }
    }
    panic!("no such event within {PATIENCE:?}");
}

fn events_now(kernel: &mut Kernel) -> Vec<Ready> {
    let mut ready = vec![Ready { token: 99, readable: true, writable: true, closed: true }];
    kernel.wait(&mut ready, NONE_NOW).unwrap();
    ready
}

#[test]
fn a_new_connection_is_writable_and_not_readable() {
    let (mut kernel, _, _peer) = connected();
    let ready = until(&mut kernel, |ready| ready.token == 7);
    assert_eq!(ready, Ready { token: 7, readable: false, writable: true, closed: false });
}

#[test]
fn an_edge_is_reported_once_and_again_only_when_more_arrives() {
    let (mut kernel, handle, mut peer) = connected();
    peer.write_all(b"one").unwrap();
    until(&mut kernel, |ready| ready.token == 7 && ready.readable);
    assert_eq!(events_now(&mut kernel), [], "nothing was read, and nothing new arrived");

    peer.write_all(b"two").unwrap();
    until(&mut kernel, |ready| ready.token == 7 && ready.readable);
    let mut buffer = [0; 16];
    assert_eq!(kernel.receive(handle, &mut buffer).unwrap(), 6);
    assert_eq!(kernel.receive(handle, &mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_full_socket_blocks_and_is_writable_once_drained() {
    let (mut kernel, handle, mut peer) = connected();
    until(&mut kernel, |ready| ready.token == 7 && ready.writable);
    let chunk = vec![0; 1 << 16];
    let mut sent = 0;
    let error = loop {
        match kernel.send(handle, &chunk) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let reader = thread::spawn(move || {
        let mut all = vec![0; sent];
        peer.read_exact(&mut all).unwrap();
        peer
    });
    until(&mut kernel, |ready| ready.token == 7 && ready.writable);
    let _peer = reader.join().unwrap();
}

#[test]
fn a_peer_that_finishes_is_reported_closed_and_read_as_zero() {
    let (mut kernel, handle, peer) = connected();
    drop(peer);
    until(&mut kernel, |ready| ready.token == 7 && ready.closed && ready.readable);
    assert_eq!(kernel.receive(handle, &mut [0; 8]).unwrap(), 0);
}

#[test]
fn sending_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    let (mut kernel, handle, peer) = connected();
    drop(peer);
    until(&mut kernel, |ready| ready.token == 7 && ready.closed);
    let deadline = kernel.now() + PATIENCE;
    let kind = loop {
        match kernel.send(handle, b"anyone there?") {
            Err(error) => break error.kind(),
            Ok(_) => assert!(kernel.now() < deadline),
        }
    };
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind:?}");
}

#[test]
fn close_ends_the_stream_and_reset_breaks_it() {
    let (mut kernel, handle, mut peer) = connected();
    kernel.close(handle);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);

    let (mut kernel, handle, mut peer) = connected();
    kernel.reset(handle);
    assert_eq!(peer.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn accepting_from_an_empty_backlog_would_block() {
    let mut kernel = Kernel::new(8).unwrap();
    let listener = listen(loopback(), &ListenOptions::default()).unwrap();
    assert_eq!(kernel.accept(listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    kernel.close(listener);
}

#[test]
fn accepted_addresses_may_be_ipv6() {
    let mut kernel = Kernel::new(8).unwrap();
    let Ok(probe) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    drop(probe);
    let listener = listen((Ipv6Addr::LOCALHOST, 0).into(), &ListenOptions::default()).unwrap();
    kernel.watch(listener, 1).unwrap();
    let peer = TcpStream::connect(local_addr(listener).unwrap()).unwrap();
    until(&mut kernel, |ready| ready.token == 1);
    let (handle, from) = kernel.accept(listener).unwrap();
    assert_eq!(from, peer.local_addr().unwrap());
    kernel.close(handle);
    kernel.close(listener);
}

#[test]
fn a_waker_ends_a_wait_from_another_thread_and_can_do_so_again() {
    let mut kernel = Kernel::new(8).unwrap();
    let waker = kernel.waker();
    for _ in 0..3 {
        let waker = waker.clone();
        let other = thread::spawn(move || waker.wake());
        let ready = until(&mut kernel, |ready| ready.token == WAKE);
        assert!(ready.readable);
        other.join().unwrap();
    }
    assert_eq!(events_now(&mut kernel), []);
}

#[test]
fn a_wake_up_before_the_wait_is_not_lost() {
    let mut kernel = Kernel::new(8).unwrap();
    kernel.waker().wake();
    kernel.waker().wake();
    let ready = until(&mut kernel, |_| true);
    assert_eq!(ready.token, WAKE);
}

#[test]
fn a_wait_without_events_ends_at_its_timeout_with_an_empty_list() {
    let mut kernel = Kernel::new(8).unwrap();
    let before = kernel.now();
    let mut ready = Vec::new();
    kernel.wait(&mut ready, Duration::from_millis(20)).unwrap();
    assert_eq!(ready, []);
    assert!(kernel.now() - before >= Duration::from_millis(20));
}

#[test]
fn a_unix_stream_connects_and_a_missing_one_is_an_error() {
    let folder = std::env::temp_dir().join(format!("headland-sys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("link");
    let mut kernel = Kernel::new(8).unwrap();
    assert_eq!(kernel.connect(&path).unwrap_err().kind(), ErrorKind::NotFound);

    let listener = UnixListener::bind(&path).unwrap();
    let handle = kernel.connect(&path).unwrap();
    kernel.watch(handle, 3).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hello").unwrap();
    until(&mut kernel, |ready| ready.token == 3 && ready.readable);
    let mut buffer = [0; 8];
    assert_eq!(kernel.receive(handle, &mut buffer).unwrap(), 5);
    assert_eq!(kernel.send(handle, b"back").unwrap(), 4);
    peer.read_exact(&mut buffer[..4]).unwrap();
    assert_eq!(&buffer[..4], b"back");
    kernel.close(handle);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn random_bytes_differ_and_fill_every_length() {
    let mut kernel = Kernel::new(8).unwrap();
    let (mut first, mut second) = ([0; 300], [0; 300]);
    kernel.fill_random(&mut first);
    kernel.fill_random(&mut second);
    assert_ne!(first, second);
    assert_ne!(first[268..], [0; 32]);
    kernel.fill_random(&mut []);
}

#[test]
fn the_wall_clock_is_past_the_day_this_was_written() {
    assert!(Kernel::new(8).unwrap().unix() > 1_700_000_000);
}
