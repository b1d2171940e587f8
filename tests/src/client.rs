//! A client of the tests' own: JSON commands over a WebSocket library that is not Headland's, with a deadline on every wait.
//! It does what it is told, also what no SDK would do.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use crate::wait;
use crate::world::World;

/// How long anything may take to arrive.
pub const WITHIN: Duration = Duration::from_secs(30);

/// A TCP connection with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// ws://
    Plain(TcpStream),
    /// wss://
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A WebSocket that speaks the client protocol.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<Stream>,
    inbox: VecDeque<Value>,
    next: u32,
    /// Whether it answers the server's pings.
    pub answers_pings: bool,
}

/// How a connection ended: the WebSocket close code and reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closed {
    /// 1006 when the connection ended without a close frame, 1005 when that had no code.
    pub code: u16,
    /// The server's words.
    pub reason: String,
}

impl Stream {
    /// Connects to a listener of a world: with TLS under `name` (SNI), or plain.
    pub fn open(world: &World, address: SocketAddr, name: Option<&str>) -> Result<Self> {
        let tcp = tcp(address)?;
        match name {
            Some(name) => Self::secured(tls(world)?, tcp, name),
            None => Ok(Self::Plain(tcp)),
        }
    }

    /// Connects with a TLS configuration of the test's own.
    pub fn with(config: Arc<ClientConfig>, address: SocketAddr, name: &str) -> Result<Self> {
        Self::secured(config, tcp(address)?, name)
    }

    /// Completes the TLS handshake, which otherwise happens with the first bytes.
    pub fn handshake(&mut self) -> Result<()> {
        if let Self::Secure(tls) = self {
            while tls.conn.is_handshaking() {
                tls.conn.complete_io(&mut tls.sock)?;
            }
        }
        Ok(())
    }

    /// The server's own certificate.
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Secure(tls) => tls.conn.peer_certificates()?.first().map(|der| der.clone().into_owned()),
        }
    }

    /// Whether the TLS session was resumed.
    pub fn resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(tls) => tls.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        }
    }

    /// Ends the sending side of TLS, as a peer that leaves in good order does.
    pub fn close_notify(&mut self) -> Result<()> {
        if let Self::Secure(tls) = self {
            tls.conn.send_close_notify();
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(())
    }

    fn secured(config: Arc<ClientConfig>, tcp: TcpStream, name: &str) -> Result<Self> {
        let connection = ClientConnection::new(config, ServerName::try_from(name.to_owned())?)?;
        Ok(Self::Secure(Box::new(StreamOwned::new(connection, tcp))))
    }

    /// The socket itself.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secure(tls) => &tls.sock,
        }
    }
}

fn tcp(address: SocketAddr) -> Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&address, WITHIN).with_context(|| address.to_string())?;
    tcp.set_read_timeout(Some(WITHIN))?;
    tcp.set_write_timeout(Some(WITHIN))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// A plain connection from another loopback address, 127.0.0.`source`. That the server refuses it may be seen only by its reads.
pub fn from(source: u8, to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)).into())?;
    match socket.connect(&to.into()) {
        // A refusal may be quick enough to be seen here: then every read sees it too.
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error.into()),
        _ => {}
    }
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(WITHIN))?;
    Ok(stream)
}

/// TLS that trusts the world's authority.
pub fn tls(world: &World) -> Result<Arc<ClientConfig>> {
    Ok(Arc::new(tls_versions(world, rustls::ALL_VERSIONS)?))
}

/// The same with a choice of versions.
pub fn tls_versions(
    world: &World,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.authority.certificate().as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(bytes),
            Self::Secure(tls) => tls.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Secure(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Secure(tls) => tls.flush(),
        }
    }
}

impl Client {
    /// A WebSocket over TLS, not yet connected in the protocol's sense.
    pub fn secure(world: &World) -> Result<Self> {
        Self::over(Stream::open(world, world.secure, Some("localhost"))?, &world.wss(), &[])
    }

    /// The same without TLS.
    pub fn plain(world: &World) -> Result<Self> {
        Self::over(Stream::open(world, world.plain, None)?, &world.ws(), &[])
    }

    /// The same at an address, whoever started what answers there.
    pub fn at(address: SocketAddr, url: &str) -> Result<Self> {
        Self::over(Stream::Plain(tcp(address)?), url, &[])
    }

    /// A client of `user`, connected over TLS.
    pub fn of(world: &World, user: &str) -> Result<Self> {
        let mut client = Self::secure(world)?;
        let reply = client.connect(&world.token(user)?)?;
        anyhow::ensure!(reply.get("connect").is_some(), "connect was answered {reply}");
        Ok(client)
    }

    /// A WebSocket over an open stream with further request headers.
    pub fn over(stream: Stream, url: &str, headers: &[(&str, &str)]) -> Result<Self> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
        }
        let (socket, _) = tungstenite::client(request, stream).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(Self { socket, inbox: VecDeque::new(), next: 1, answers_pings: true })
    }

    /// `connect` with a token; the reply.
    pub fn connect(&mut self, token: &str) -> Result<Value> {
        self.call(&json!({ "connect": { "token": token } }))
    }

    /// `subscribe`; the result, or the error as an error.
    pub fn subscribe(&mut self, channel: &str) -> Result<Value> {
        let reply = self.call(&json!({ "subscribe": { "channel": channel } }))?;
        reply.get("subscribe").cloned().with_context(|| format!("subscribe was answered {reply}"))
    }

    /// `publish`; an error reply is an error.
    pub fn publish(&mut self, channel: &str, data: &Value) -> Result<()> {
        let reply = self.call(&json!({ "publish": { "channel": channel, "data": data } }))?;
        reply.get("publish").map(|_| ()).with_context(|| format!("publish was answered {reply}"))
    }

    /// Sends a command under the next id and waits for its reply; pushes meanwhile wait in the inbox.
    pub fn call(&mut self, command: &Value) -> Result<Value> {
        let id = self.command(command)?;
        let mut others = VecDeque::new();
        loop {
            let message = self.message()?;
            if message.get("id") == Some(&json!(id)) {
                others.append(&mut self.inbox);
                self.inbox = others;
                return Ok(message);
            }
            others.push_back(message);
        }
    }

    /// Sends a command under the next id and does not wait.
    pub fn command(&mut self, command: &Value) -> Result<u32> {
        let id = self.next;
        self.next += 1;
        let mut command = command.clone();
        command["id"] = json!(id);
        self.text(&command.to_string())?;
        Ok(id)
    }

    /// Sends a text frame as it is.
    pub fn text(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.send(Message::text(text))?)
    }

    /// Sends any frame.
    pub fn send(&mut self, message: Message) -> Result<()> {
        Ok(self.socket.send(message)?)
    }

    /// The next reply or push; pings are answered on the way.
    pub fn message(&mut self) -> Result<Value> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            match self.socket.read()? {
                Message::Text(text) => self.take(text.as_str())?,
                Message::Close(frame) => bail!(Closed::of(frame)),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("a frame that JSON clients do not get: {other:?}"),
            }
        }
    }

    /// The next push, and nothing but a push.
    pub fn push(&mut self) -> Result<Value> {
        let message = self.message()?;
        message.get("push").cloned().with_context(|| format!("wanted a push, got {message}"))
    }

    /// The next push of a kind (`pub`, `join`, ..); other pushes are dropped.
    pub fn push_of(&mut self, kind: &str) -> Result<Value> {
        loop {
            let push = self.push()?;
            if let Some(found) = push.get(kind) {
                return Ok(found.clone());
            }
        }
    }

    /// Waits until the server closes; what arrives before is dropped.
    pub fn closed(&mut self) -> Result<Closed> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return Ok(Closed::of(frame)),
                Ok(Message::Text(text)) => self.take(text.as_str())?,
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => {
                    return Ok(Closed::abrupt());
                }
                Err(Error::Io(error)) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Ok(Closed::abrupt());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the server's refusal of `connect` in whatever form: the code of an error reply or of a close.
    pub fn closed_or_error(&mut self) -> Result<u16> {
        match self.message() {
            Ok(reply) => {
                let code = reply["error"]["code"].as_u64().with_context(|| format!("no refusal: {reply}"))?;
                Ok(u16::try_from(code)?)
            }
            Err(error) => match error.downcast_ref::<Closed>() {
                Some(closed) => Ok(closed.code),
                None => Err(error),
            },
        }
    }

    /// The next frame that contains a text, as it came.
    pub fn text_with(&mut self, wanted: &str) -> Result<String> {
        loop {
            if let Message::Text(text) = self.socket.read()?
                && text.contains(wanted)
            {
                return Ok(text.to_string());
            }
        }
    }

    /// The same, also when it has already been taken apart: the message again as it stood in its frame.
    pub fn last_frame_with(&mut self, wanted: &str) -> Result<String> {
        match self.inbox.iter().map(Value::to_string).find(|text| text.contains(wanted)) {
            Some(text) => Ok(text),
            None => self.text_with(wanted),
        }
    }

    /// The next reply or push, if one comes in time.
    pub fn next(&mut self, within: Duration) -> Result<Option<Value>> {
        if self.inbox.is_empty() {
            self.socket.get_ref().tcp().set_read_timeout(Some(within))?;
            let read = self.socket.read();
            self.socket.get_ref().tcp().set_read_timeout(Some(WITHIN))?;
            match read {
                Ok(Message::Text(text)) => self.take(text.as_str())?,
                Ok(Message::Close(frame)) => bail!(Closed::of(frame)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.inbox.pop_front())
    }

    /// Lets time pass, answering pings and keeping what else arrives.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let until = wait::now() + time;
        loop {
            let left = until.saturating_duration_since(wait::now());
            if left.is_zero() {
                self.socket.get_ref().tcp().set_read_timeout(Some(WITHIN))?;
                return Ok(());
            }
            self.socket.get_ref().tcp().set_read_timeout(Some(left))?;
            match self.socket.read() {
                Ok(Message::Text(text)) => self.take(text.as_str())?,
                Ok(Message::Close(frame)) => bail!(Closed::of(frame)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The stream below, to misbehave with.
    pub fn stream(&mut self) -> &mut Stream {
        self.socket.get_mut()
    }

    /// Takes one frame's messages: JSON documents, one per line.
    fn take(&mut self, text: &str) -> Result<()> {
        for line in text.lines().filter(|line| !line.is_empty()) {
            let message: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            if message == json!({}) {
                if self.answers_pings {
                    self.text("{}")?;
                }
            } else {
                self.inbox.push_back(message);
            }
        }
        Ok(())
    }
}

impl Closed {
    fn of(frame: Option<CloseFrame>) -> Self {
        let code = frame.as_ref().map_or(1005, |frame| frame.code.into());
        Self { code, reason: frame.map(|frame| frame.reason.to_string()).unwrap_or_default() }
    }

    const fn abrupt() -> Self {
        Self { code: 1006, reason: String::new() }
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "closed with {} {}", self.code, self.reason)
    }
}

impl std::error::Error for Closed {}
