//! Catches the TLS 1.3 traffic secrets that rustls tells its key log, for the one handshake that runs on this thread.
//! They are needed for key updates and rustls has no other way to give them.

use std::cell::RefCell;

use rustls::KeyLog;
use zeroize::Zeroize;

use super::suite::Suite;

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

thread_local! {
    static HEARD: RefCell<Captured> = const { RefCell::new(Captured::new()) };
}

/// Both application traffic secrets of a handshake; empty in TLS 1.2. Erased when dropped.
pub(super) struct Captured {
    pub(super) client: [u8; 48],
    pub(super) server: [u8; 48],
    /// Length of each; 0 before they are known.
    client_bytes: u8,
    server_bytes: u8,
}

impl Captured {
    pub(super) const fn new() -> Self {
        Self { client: [0; 48], server: [0; 48], client_bytes: 0, server_bytes: 0 }
    }

    /// Whether both secrets are here.
    pub(super) const fn is_complete(&self) -> bool {
        self.client_bytes > 0 && self.server_bytes > 0
    }

    /// The meaningful part of one of the two, if it has the length of the suite's secrets.
    pub(super) fn secret<'a>(&self, secret: &'a [u8; 48], suite: Suite) -> Option<&'a [u8]> {
        let bytes = suite.secret_bytes();
        (self.client_bytes == self.server_bytes && usize::from(self.client_bytes) == bytes && bytes > 0)
            .then(|| &secret[..bytes])
    }

    /// Runs `work`, which calls rustls, and keeps what the key log hears meanwhile.
    pub(super) fn listen<R>(&mut self, work: impl FnOnce() -> R) -> R {
        HEARD.with_borrow_mut(Self::wipe);
        let result = work();
        HEARD.with_borrow_mut(|heard| {
            if heard.client_bytes > 0 {
                self.client.copy_from_slice(&heard.client);
                self.client_bytes = heard.client_bytes;
            }
            if heard.server_bytes > 0 {
                self.server.copy_from_slice(&heard.server);
                self.server_bytes = heard.server_bytes;
            }
            if heard.client_bytes > 0 || heard.server_bytes > 0 {
                heard.wipe();
            }
        });
        result
    }

    fn wipe(&mut self) {
        self.client.zeroize();
        self.server.zeroize();
        self.client_bytes = 0;
        self.server_bytes = 0;
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The key log of every configuration made here.
#[derive(Debug)]
pub(super) struct Capture;

impl KeyLog for Capture {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if secret.len() > 48 {
            return;
        }
        HEARD.with_borrow_mut(|heard| {
            let (kept, bytes) = match label {
                CLIENT => (&mut heard.client, &mut heard.client_bytes),
                SERVER => (&mut heard.server, &mut heard.server_bytes),
                _ => return,
            };
            kept[..secret.len()].copy_from_slice(secret);
            *bytes = secret.len() as u8;
        });
    }

    fn will_log(&self, label: &str) -> bool {
        label == CLIENT || label == SERVER
    }
}
