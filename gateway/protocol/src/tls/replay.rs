//! A server's handshake in two passes, so that nobody waits for its signature: the first pass ends where a signature is
//! needed and leaves a [`Tape`] of what it drew and agreed so far; the second plays it back and has the signature at hand.
//!
//! rustls asks for signatures by a call that has to return one. So the first pass lets that call fail and drops rustls; only
//! what the second pass writes is sent. A second pass that differs from the first in what is to be signed asks the key's holder
//! by the blocking call, as a flight in one pass does. Never keeps a tape: it is the caller's, and erased when dropped.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
    aws_lc_rs::kx_group,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::{Error, NamedGroup, ProtocolVersion};
use zeroize::{Zeroize, Zeroizing};

use super::limits::FLIGHT_DRAWS_BYTES_MAX;

/// A signature that a handshake needs.
#[derive(PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The number of the key.
    pub key: u32,
    /// The TLS `SignatureScheme`.
    pub scheme: u16,
    /// What is to be signed.
    pub message: Vec<u8>,
}

/// What the first pass of one handshake has left.
pub(super) struct Tape {
    /// Random bytes in the order of their drawing, and how many there are.
    draws: [u8; FLIGHT_DRAWS_BYTES_MAX],
    drawn: usize,
    exchange: Option<Exchange>,
    wanted: Option<Wanted>,
    /// Something was more than a tape holds: the handshake ends in one pass.
    spoiled: bool,
    /// In the second pass: bytes of `draws` that were drawn again, and the signature until it is taken.
    redrawn: usize,
    signature: Option<Vec<u8>>,
    playing: bool,
}

enum Exchange {
    /// TLS 1.3: done with the peer's share.
    Complete { group: NamedGroup, public: Vec<u8>, secret: Zeroizing<Vec<u8>> },
    /// TLS 1.2: to be done when the peer's share comes.
    Started(Shared),
}

type Shared = Arc<Mutex<Option<Box<dyn ActiveKeyExchange>>>>;

thread_local! {
    /// The tape of the pass that runs on this thread now.
    static RUNNING: RefCell<Option<Box<Tape>>> = const { RefCell::new(None) };
}

impl Tape {
    /// Runs a first pass, or goes on with one that the peer's next flight continues. Then the tape may want a signature.
    pub(super) fn record<R>(self: Box<Self>, pass: impl FnOnce() -> R) -> (R, Box<Self>) {
        debug_assert!(!self.playing && self.wanted.is_none());
        Self::run(self, pass)
    }

    /// Runs the second pass.
    pub(super) fn play<R>(mut self: Box<Self>, signature: Vec<u8>, pass: impl FnOnce() -> R) -> R {
        debug_assert!(!self.playing && self.wanted.is_some());
        self.playing = true;
        self.signature = Some(signature);
        Self::run(self, pass).0
    }

    /// What the second pass will need.
    pub(super) const fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    fn run<R>(tape: Box<Self>, pass: impl FnOnce() -> R) -> (R, Box<Self>) {
        let running = Running;
        RUNNING.with_borrow_mut(|place| {
            debug_assert!(place.is_none(), "passes are not nested");
            *place = Some(tape);
        });
        let result = pass();
        let tape = RUNNING.with_borrow_mut(Option::take).unwrap_or_default();
        drop(running);
        (result, tape)
    }

    fn draw(&mut self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        if self.playing {
            let end = self.redrawn + out.len();
            if end <= self.drawn {
                out.copy_from_slice(&self.draws[self.redrawn..end]);
                self.redrawn = end;
                return Ok(());
            }
            // Not the same flight. What was drawn before is not good for anything else.
            self.redrawn = self.drawn;
        }
        random(out)?;
        let end = self.drawn + out.len();
        if !self.playing && end <= FLIGHT_DRAWS_BYTES_MAX {
            self.draws[self.drawn..end].copy_from_slice(out);
            self.drawn = end;
        } else {
            self.spoiled = true;
        }
        Ok(())
    }

    /// Keeps the key exchange; a handshake has one.
    fn keep(&mut self, exchange: Exchange) {
        if self.exchange.is_some() {
            self.spoiled = true;
        } else {
            self.exchange = Some(exchange);
        }
    }

    /// The signature, if the second pass wants the same one.
    fn signature(&mut self, key: u32, scheme: u16, message: &[u8]) -> Option<Vec<u8>> {
        let wanted = self.wanted.as_ref()?;
        let same = wanted.key == key && wanted.scheme == scheme && wanted.message == message;
        self.signature.take().filter(|_| same)
    }
}

impl Default for Tape {
    fn default() -> Self {
        Self {
            draws: [0; FLIGHT_DRAWS_BYTES_MAX],
            drawn: 0,
            exchange: None,
            wanted: None,
            spoiled: false,
            redrawn: 0,
            signature: None,
            playing: false,
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.draws.zeroize();
    }
}

/// Clears the thread's place even when a pass panics.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|place| *place = None);
    }
}

/// What a key that is elsewhere has to do.
pub(super) enum Signing {
    /// Ask its holder and wait.
    Ask,
    /// Fail: the first pass ends here.
    Later,
    /// Take this.
    Known(Vec<u8>),
}

/// A signature is needed on this thread.
pub(super) fn signing(key: u32, scheme: u16, message: &[u8]) -> Signing {
    RUNNING.with_borrow_mut(|place| match place {
        Some(tape) if tape.playing => {
            tape.signature(key, scheme, message).map_or(Signing::Ask, Signing::Known)
        }
        Some(tape) if !tape.spoiled && tape.wanted.is_none() => {
            tape.wanted = Some(Wanted { key, scheme, message: message.to_vec() });
            Signing::Later
        }
        _ => Signing::Ask,
    })
}

/// The system's randomness, by the tape when a pass runs.
#[derive(Debug)]
pub(super) struct TapedRandom;

impl SecureRandom for TapedRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        RUNNING.with_borrow_mut(|place| match place {
            Some(tape) => tape.draw(out),
            None => random(out),
        })
    }
}

fn random(out: &mut [u8]) -> Result<(), GetRandomFailed> {
    aws_lc_rs::rand::fill(out).map_err(|_| GetRandomFailed)
}

/// A key exchange group whose results go by the tape when a pass runs.
#[derive(Debug)]
pub(super) struct TapedGroup(&'static dyn SupportedKxGroup);

pub(super) static X25519: TapedGroup = TapedGroup(kx_group::X25519);
pub(super) static SECP256R1: TapedGroup = TapedGroup(kx_group::SECP256R1);
pub(super) static X25519MLKEM768: TapedGroup = TapedGroup(kx_group::X25519MLKEM768);

impl SupportedKxGroup for TapedGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        if let Some(Exchange::Started(shared)) = self.replayed()
            && let Some(exchange) = take(&shared)
        {
            return Ok(exchange);
        }
        let exchange = self.0.start()?;
        if !recording() {
            return Ok(exchange);
        }
        let (group, public) = (exchange.group(), exchange.pub_key().to_vec());
        let shared = Arc::new(Mutex::new(Some(exchange)));
        with_tape(|tape| tape.keep(Exchange::Started(Arc::clone(&shared))));
        Ok(Box::new(Stand { group, public, shared }))
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        if let Some(Exchange::Complete { group, public, secret }) = self.replayed() {
            return Ok(CompletedKeyExchange {
                group,
                pub_key: public,
                secret: SharedSecret::from(&secret[..]),
            });
        }
        let complete = self.0.start_and_complete(peer)?;
        if recording() {
            let secret = Zeroizing::new(complete.secret.secret_bytes().to_vec());
            let exchange =
                Exchange::Complete { group: complete.group, public: complete.pub_key.clone(), secret };
            with_tape(|tape| tape.keep(exchange));
        }
        Ok(complete)
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.0.usable_for_version(version)
    }
}

impl TapedGroup {
    /// The recorded exchange, if a second pass runs and asks for this group.
    fn replayed(&self) -> Option<Exchange> {
        let exchange = with_tape(|tape| if tape.playing { tape.exchange.take() } else { None })??;
        let group = match &exchange {
            Exchange::Complete { group, .. } => Some(*group),
            Exchange::Started(shared) => lock(shared).as_ref().map(|exchange| exchange.group()),
        };
        (group == Some(self.0.name())).then_some(exchange)
    }
}

fn recording() -> bool {
    with_tape(|tape| !tape.playing) == Some(true)
}

fn with_tape<R>(work: impl FnOnce(&mut Tape) -> R) -> Option<R> {
    RUNNING.with_borrow_mut(|place| place.as_mut().map(|tape| work(tape)))
}

/// Stands for an exchange that a tape shares, in case that the first pass is the only one.
struct Stand {
    group: NamedGroup,
    public: Vec<u8>,
    shared: Shared,
}

impl ActiveKeyExchange for Stand {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let exchange = take(&self.shared).ok_or_else(|| Error::General(String::new()))?;
        exchange.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}

fn take(shared: &Shared) -> Option<Box<dyn ActiveKeyExchange>> {
    lock(shared).take()
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Option<Box<dyn ActiveKeyExchange>>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether no pass has left anything on this thread.
#[cfg(test)]
pub(super) fn nothing_is_left() -> bool {
    RUNNING.with_borrow(Option::is_none)
}
