//! Options and outcomes of listening and connecting.

use std::net::{Ipv4Addr, TcpListener};

use super::*;
use crate::{Kernel, Ready, Sys};

const PATIENCE: Duration = Duration::from_secs(10);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn first_edge(handle: Handle) -> Ready {
    let mut kernel = Kernel::new(8).unwrap();
    kernel.watch(handle, 5).unwrap();
    let mut ready = Vec::new();
    let deadline = kernel.now() + PATIENCE;
    while kernel.now() < deadline {
        kernel.wait(&mut ready, Duration::from_millis(100)).unwrap();
        if let Some(one) = ready.first() {
            return *one;
        }
    }
    panic!("no edge within {PATIENCE:?}");
}

#[test]
fn accepted_connections_inherit_what_the_listener_was_told() {
    let options = ListenOptions {
        notsent_lowat: Some(16_384),
        user_timeout_ms: Some(30_000),
        ..ListenOptions::default()
    };
    let listener = listen(loopback(), &options).unwrap();
    let mut kernel = Kernel::new(8).unwrap();
    let peer = connect_from(None, local_addr(listener).unwrap()).unwrap();
    assert!(first_edge(peer).writable);
    let (handle, _) = kernel.accept(listener).unwrap();
    let accepted = borrow(handle);
    assert!(accepted.tcp_nodelay().unwrap());
    assert!(accepted.nonblocking().unwrap());
    assert_eq!(accepted.tcp_notsent_lowat().unwrap(), 16_384);
    assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(Duration::from_secs(30)));
    for handle in [peer, handle, listener] {
        close(handle);
    }
}

#[test]
fn a_port_is_shared_only_by_listeners_that_ask_for_it() {
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let first = listen(loopback(), &shared).unwrap();
    let addr = local_addr(first).unwrap();
    let second = listen(addr, &shared).unwrap();
    let refused = listen(addr, &ListenOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    close(first);
    close(second);
}

#[test]
fn a_connection_comes_from_the_source_it_was_told() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let source = IpAddr::V4(Ipv4Addr::new(127, 1, 2, 3));
    let handle = connect_from(Some(source), listener.local_addr().unwrap()).unwrap();
    let (_accepted, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), source);
    assert_eq!(local_addr(handle).unwrap(), from);
    assert!(first_edge(handle).writable);
    assert!(take_error(handle).unwrap().is_none());
    close(handle);
}

#[test]
fn a_refused_connection_is_told_by_its_pending_error() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    // Loopback may refuse at once or by an edge.
    match connect_from(None, addr) {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        Ok(handle) => {
            assert!(first_edge(handle).closed);
            let error = take_error(handle).unwrap().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            close(handle);
        }
    }
}

#[test]
fn one_source_address_serves_two_destinations_from_the_same_ports() {
    // With a port chosen at bind time the second round would need ports of its own; chosen at connect time it need not.
    let (first, second) = (TcpListener::bind(loopback()).unwrap(), TcpListener::bind(loopback()).unwrap());
    let source = Some(IpAddr::V4(Ipv4Addr::new(127, 1, 2, 4)));
    let handles: Vec<Handle> = (0..20)
        .flat_map(|_| [&first, &second])
        .map(|to| connect_from(source, to.local_addr().unwrap()).unwrap())
        .collect();
    for handle in handles {
        assert_ne!(local_addr(handle).unwrap().port(), 0);
        close(handle);
    }
}
