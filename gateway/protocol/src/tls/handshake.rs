//! A handshake in progress: rustls, fed one record at a time, until what it agreed can be taken over as a [`Traffic`].

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};

use super::capture::Captured;
use super::error::{Cause, Failure, TlsError, Unsigned};
use super::limits::{
    BODY_TLS12_BYTES_MAX, HANDSHAKE_CLIENT_BYTES_MAX, HANDSHAKE_SERVER_BYTES_MAX, HEADER_BYTES,
    REEL_BYTES_MAX,
};
use super::record::{ALERT, CHANGE_CIPHER_SPEC, DATA};
use super::replay::{Tape, Wanted};
use super::state::Traffic;
use super::suite::Version;

/// One end's handshake. Both ends are the same from outside; a client begins with a [`Self::receive`] of nothing.
///
/// May move between threads between calls; a pointer wide, so that moving it leaves no secret behind.
pub struct Handshake {
    work: Box<Work>,
}

struct Work {
    /// `None` when there is nothing more to do.
    engine: Option<Engine>,
    captured: Captured,
    feed: Feed,
    /// What a second pass begins with; `None` at a client.
    config: Option<Arc<ServerConfig>>,
    /// What a second pass would play back; `None` once it has, or when there will be none.
    reel: Option<Reel>,
}

/// A server's handshake so far, while it may still need a signature.
#[derive(Default)]
struct Reel {
    tape: Box<Tape>,
    /// Everything the peer has sent, as it came.
    heard: Vec<u8>,
    /// How much of that is still in the caller's input.
    left: usize,
    /// Bytes that were sent to the peer.
    told: usize,
}

enum Engine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// How far the input has been given to rustls.
#[derive(Default)]
struct Feed {
    /// Bytes at the front of the input that rustls has seen and wants to see again: parts of a message.
    seen: usize,
    /// Bytes of records in all.
    received: usize,
}

/// What the next bytes may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flight {
    /// A key exchange, and a signature: [`Handshake::begin`] does not wait for it.
    Hello,
    /// Symmetric cryptography only: a few microseconds.
    Finish,
}

/// Where a handshake stands after a call.
#[derive(Debug)]
pub enum Progress {
    /// It waits for the peer.
    More,
    /// It is done; the [`Handshake`] is of no more use.
    Done(Done),
}

/// How [`Handshake::begin`] ended.
#[derive(Debug)]
pub enum Begun {
    /// As [`Handshake::receive`] does.
    Progress(Progress),
    /// [`Handshake::wanted`] says which signature is needed; [`Handshake::signed`] goes on with it.
    Unsigned,
}

/// What a handshake agreed.
#[derive(Debug)]
pub struct Done {
    /// The connection.
    pub traffic: Traffic,
    /// Whether it came from a ticket, without certificate and signature.
    pub resumed: bool,
    /// Whether ALPN agreed `http/1.1`; false when the client offered no list.
    pub http11: bool,
    /// Version of TLS.
    pub version: Version,
}

impl Handshake {
    /// A server's end. `config` must come from [`super::server_config`].
    pub fn server(config: &Arc<ServerConfig>) -> Result<Self, TlsError> {
        let engine = Engine::Server(UnbufferedServerConnection::new(Arc::clone(config))?);
        Ok(Self::new(engine, Some(Arc::clone(config))))
    }

    /// A client's end. `config` must come from [`super::client_config`].
    pub fn client(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let engine = Engine::Client(UnbufferedClientConnection::new(Arc::clone(config), name)?);
        Ok(Self::new(engine, None))
    }

    fn new(engine: Engine, config: Option<Arc<ServerConfig>>) -> Self {
        let (captured, feed) = (Captured::new(), Feed::default());
        let reel = config.is_some().then(Reel::default);
        Self { work: Box::new(Work { engine: Some(engine), captured, feed, config, reel }) }
    }

    /// Takes what it can from the front of `input` and appends what is to be sent to `out`, even when it fails (an alert).
    ///
    /// What stays in `input` has to be there again, unchanged and with more behind it, in the next call: rustls has marked
    /// and decrypted parts of it. After [`Progress::Done`] it is the beginning of the connection's traffic.
    pub fn receive(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Progress, Failure> {
        let Work { engine: place, captured, feed, .. } = &mut *self.work;
        let Some(engine) = place else {
            return Err(Failure { cause: Cause::Internal });
        };
        let before = out.len();
        let (taken, result) = captured.listen(|| feed.drive(engine, input, out));
        input.drain(..taken);
        match result {
            Ok(Step::Done) => {
                let engine = place.take().ok_or(Failure { cause: Cause::Internal })?;
                finish(engine, captured).map(Progress::Done).map_err(|cause| Failure { cause })
            }
            Ok(_) => Ok(Progress::More),
            Err(stop) => {
                let cause = match stop {
                    Stop::Refused(error) => Cause::from(&error),
                    Stop::Oversize => Cause::Oversize,
                    Stop::Internal => Cause::Internal,
                };
                // rustls queues an alert for most errors. It makes none when a signature fails, and then the ServerHello
                // before it is still queued: the peer gets the alert in its place, in the clear.
                let silent = cause.is_ours() || !engine.drain(out);
                if silent && !matches!(cause, Cause::Alerted(_)) {
                    let kind = if cause.is_ours() { INTERNAL_ERROR } else { HANDSHAKE_FAILURE };
                    out.truncate(before);
                    out.extend_from_slice(&alert(kind));
                }
                *place = None;
                Err(Failure { cause })
            }
        }
    }

    /// As [`Self::receive`], but does not wait for a [`super::certificate::Remote`] key's signature: when one is needed, `input`
    /// is emptied, `out` stays as it was, [`Self::wanted`] says which, and [`Self::signed`] has to follow.
    ///
    /// All of a server's flights have to come through here until then, so that a second pass can play all of them back: a
    /// ClientHello may come in pieces or follow a HelloRetryRequest. A key that is asked for outside of both passes is asked by
    /// the blocking call.
    pub fn begin(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Begun, Failure> {
        let Some(mut reel) = self.work.reel.take() else {
            return self.receive(input, out).map(Begun::Progress);
        };
        let new = input.get(reel.left..).unwrap_or_default();
        if reel.heard.len() + new.len() > REEL_BYTES_MAX {
            return self.receive(input, out).map(Begun::Progress);
        }
        reel.heard.extend_from_slice(new);
        let before = out.len();
        let result;
        (result, reel.tape) = reel.tape.record(|| self.receive(input, out));
        if reel.tape.wanted().is_some() {
            debug_assert!(result.is_err() && self.work.engine.is_none());
            input.clear();
            out.truncate(before);
            self.work.reel = Some(reel);
            return Ok(Begun::Unsigned);
        }
        if matches!(result, Ok(Progress::More)) && self.flight() == Flight::Hello {
            reel.left = input.len();
            reel.told += out.len() - before;
            self.work.reel = Some(reel);
        }
        result.map(Begun::Progress)
    }

    /// The signature that [`Self::signed`] waits for.
    pub fn wanted(&self) -> Option<&Wanted> {
        self.work.reel.as_ref()?.tape.wanted()
    }

    /// Goes on after [`Begun::Unsigned`], as [`Self::receive`] does; what it leaves in `input` comes before anything that the peer
    /// has sent since.
    pub fn signed(
        &mut self,
        signature: Result<Vec<u8>, Unsigned>,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, Failure> {
        let wanted = self.wanted().is_some();
        let (Some(reel), true, Some(config)) = (self.work.reel.take(), wanted, &self.work.config) else {
            return Err(Failure { cause: Cause::Internal });
        };
        let Ok(signature) = signature else {
            out.extend_from_slice(&alert(INTERNAL_ERROR));
            return Err(Failure { cause: Cause::Signer });
        };
        let Ok(again) = UnbufferedServerConnection::new(Arc::clone(config)) else {
            return Err(Failure { cause: Cause::Internal });
        };
        self.work.engine = Some(Engine::Server(again));
        self.work.feed = Feed::default();
        self.work.captured = Captured::new();
        let Reel { tape, mut heard, told, .. } = reel;
        let before = out.len();
        let result = tape.play(signature, || self.receive(&mut heard, out));
        heard.append(input);
        *input = heard;
        // What the peer has already must not come twice.
        out.drain(before..out.len().min(before + told));
        result
    }

    /// What the next bytes may cost. Changes with [`Self::receive`] only.
    pub fn flight(&self) -> Flight {
        let Some(Engine::Server(connection)) = &self.work.engine else {
            return Flight::Hello;
        };
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        if self.work.captured.is_complete() || resumed { Flight::Finish } else { Flight::Hello }
    }
}

impl Feed {
    /// Feeds records until rustls wants more than there is. Returns how many bytes of `input` are done with.
    fn drive(
        &mut self,
        engine: &mut Engine,
        input: &mut [u8],
        out: &mut Vec<u8>,
    ) -> (usize, Result<Step, Stop>) {
        let mut taken = 0;
        loop {
            let seen = taken + self.seen;
            let (discard, step) = engine.step(&mut input[taken..seen], out);
            taken += discard;
            self.seen = self.seen.saturating_sub(discard);
            match step {
                Ok(Step::Again) => continue,
                Ok(Step::Blocked) => {}
                step => return (taken, step),
            }
            let end = taken + self.seen;
            let Some(length) = next_record(&input[end..]) else {
                return (taken, Ok(Step::Blocked));
            };
            self.seen += length;
            self.received += length;
            if self.received > engine.bytes_max() {
                return (taken, Err(Stop::Oversize));
            }
        }
    }
}

enum Step {
    Again,
    Blocked,
    Done,
}

enum Stop {
    Refused(rustls::Error),
    Oversize,
    Internal,
}

const FATAL: u8 = 2;
const HANDSHAKE_FAILURE: u8 = 40;
const INTERNAL_ERROR: u8 = 80;

/// A fatal alert in the clear.
const fn alert(kind: u8) -> [u8; 7] {
    [ALERT, 3, 3, 0, 2, FATAL, kind]
}

/// Length of the first record if it is whole; of what is there if rustls should refuse it at once.
fn next_record(input: &[u8]) -> Option<usize> {
    let &[kind, major, _, high, low] = input.first_chunk::<HEADER_BYTES>()?;
    let body = usize::from(u16::from_be_bytes([high, low]));
    if !(CHANGE_CIPHER_SPEC..=DATA).contains(&kind) || major != 3 || body > BODY_TLS12_BYTES_MAX {
        return Some(HEADER_BYTES);
    }
    let length = HEADER_BYTES + body;
    (input.len() >= length).then_some(length)
}

impl Engine {
    fn step(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> (usize, Result<Step, Stop>) {
        match self {
            Self::Server(connection) => settle(connection.process_tls_records(input), out),
            Self::Client(connection) => settle(connection.process_tls_records(input), out),
        }
    }

    /// Appends what is queued, which is the alert after an error; says whether there was any.
    fn drain(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        // Asked first, as rustls would otherwise look for messages in an input that is not given to it again.
        while self.common().wants_write() {
            let (_, Ok(Step::Again)) = self.step(&mut [], out) else {
                break;
            };
        }
        out.len() > before
    }

    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    const fn bytes_max(&self) -> usize {
        match self {
            Self::Server(_) => HANDSHAKE_SERVER_BYTES_MAX,
            Self::Client(_) => HANDSHAKE_CLIENT_BYTES_MAX,
        }
    }
}

fn settle<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) -> (usize, Result<Step, Stop>) {
    let step = match status.state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
        // Data or closure before the end of the handshake; rustls does not report them with our configurations.
        Ok(_) => Err(Stop::Internal),
        Err(error) => Err(Stop::Refused(error)),
    };
    (status.discard, step)
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<Step, Stop> {
    let at = out.len();
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
        return Err(Stop::Internal);
    };
    out.resize(at + size.required_size, 0);
    match data.encode(&mut out[at..]) {
        Ok(_) => Ok(Step::Again),
        Err(_) => Err(Stop::Internal),
    }
}

/// Takes the connection over; what is left of rustls is dropped.
fn finish(engine: Engine, captured: &Captured) -> Result<Done, Cause> {
    let common = engine.common();
    let resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
    let http11 = common.alpn_protocol() == Some(b"http/1.1");
    let version = common.protocol_version().ok_or(Cause::Internal)?;
    let (client, secrets) = match engine {
        Engine::Server(connection) => {
            (false, connection.dangerous_into_kernel_connection().map(|(secrets, _)| secrets))
        }
        Engine::Client(connection) => {
            (true, connection.dangerous_into_kernel_connection().map(|(secrets, _)| secrets))
        }
    };
    let secrets = secrets.map_err(|_| Cause::Internal)?;
    let traffic = Traffic::adopt(client, version, &secrets, captured).ok_or(Cause::Internal)?;
    let version = if version == ProtocolVersion::TLSv1_3 { Version::Tls13 } else { Version::Tls12 };
    debug_assert_eq!(version, traffic.version());
    Ok(Done { traffic, resumed, http11, version })
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("flight", &self.flight()).finish_non_exhaustive()
    }
}
