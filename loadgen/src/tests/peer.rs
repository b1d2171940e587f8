//! The other end for tests: a server half that speaks TLS, WebSocket and enough of the client protocol, in memory
//! ([`Peer`]) and on a real port ([`serve`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::client::encoding::Encoding;
use protocol::client::received::{Answer, Event, Received, Session};
use protocol::client::reply::{Connected, Expiry, Push, Reply, Subscribed};
use protocol::tls::{self, Certificates, Handshake, Opened, Progress, ServerOptions, Traffic};
use protocol::upgrade::{self, Asked, Parsed, Rules};
use protocol::ws::{self, Item, Opcode, Reader, Role};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use sys::{Handle, Kernel, ListenOptions, Sys, WAKE, Waker};
use wire::{ClientId, code, link::Publication};

/// A server's end of one connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    handshake: Option<Handshake>,
    cipher: Vec<u8>,
    traffic: Option<Traffic>,
    plain: Vec<u8>,
    reader: Reader,
    upgraded: bool,
    /// Agreed to, or asked for by the query.
    encoding: Encoding,
    json_only: bool,
}

impl Peer {
    /// Over TLS with [`server_tls`].
    pub(crate) fn secure() -> Self {
        Self { handshake: Some(Handshake::server(&server_tls().0).unwrap()), ..Self::default() }
    }

    /// Feeds bytes; returns each command as JSON, and other frames as their debug text. Answers the upgrade by itself.
    pub(crate) fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Vec<Value> {
        self.cipher.extend_from_slice(bytes);
        if let Some(mut handshake) = self.handshake.take() {
            match handshake.receive(&mut self.cipher, out) {
                Ok(Progress::Done(done)) => self.traffic = Some(done.traffic),
                Ok(Progress::More) => self.handshake = Some(handshake),
                Err(_) => self.cipher.clear(),
            }
        }
        if self.handshake.is_some() {
            return Vec::new();
        }
        self.open();
        if !self.upgraded {
            self.answer_upgrade(out);
        }
        if self.upgraded { self.commands() } else { Vec::new() }
    }

    /// Of a server that does not know Protobuf.
    pub(crate) fn of_json_only() -> Self {
        Self { json_only: true, ..Self::default() }
    }

    /// A message, given in JSON.
    pub(crate) fn say(&mut self, text: &str, out: &mut Vec<u8>) {
        match self.encoding {
            Encoding::Json => self.frame(Opcode::Text, text.as_bytes(), out),
            Encoding::Protobuf => self.frame(Opcode::Binary, &in_protobuf(text), out),
        }
    }

    /// Any frame.
    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let mut frame = Vec::new();
        ws::frame(opcode, payload, &mut frame);
        self.send(&frame, out);
    }

    /// Plaintext of the stream.
    pub(crate) fn send(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &mut self.traffic {
            Some(traffic) => traffic.seal(bytes, out).unwrap(),
            None => out.extend_from_slice(bytes),
        }
    }

    fn open(&mut self) {
        let Some(traffic) = &mut self.traffic else { return self.plain.append(&mut self.cipher) };
        loop {
            let (used, opened) = traffic.open(&mut self.cipher).unwrap();
            match opened {
                Opened::Data(data) => self.plain.extend_from_slice(data),
                Opened::Nothing => {}
                Opened::Incomplete { .. } | Opened::Closed => return,
            }
            self.cipher.drain(..used);
        }
    }

    fn answer_upgrade(&mut self, out: &mut Vec<u8>) {
        let mut response = Vec::new();
        let encodings = if self.json_only { vec![upgrade::JSON] } else { Rules::default().encodings };
        match upgrade::request(&self.plain, &Rules { encodings, ..Rules::default() }) {
            Ok(Parsed::Incomplete) => return,
            Ok(Parsed::Complete { consumed, head }) => {
                self.plain.drain(..consumed);
                if head.asked == Asked::Known(upgrade::PROTOBUF.id) {
                    self.encoding = Encoding::Protobuf;
                }
                upgrade::response(&head, &mut response);
                self.upgraded = true;
            }
            Err(refusal) => refusal.response(&mut response),
        }
        self.send(&response, out);
    }

    fn commands(&mut self) -> Vec<Value> {
        let (mut found, mut at) = (Vec::new(), 0);
        loop {
            let (used, item) =
                self.reader.next(Role::Server, &mut self.plain[at..], &ws::Limits::default()).unwrap();
            at += used;
            match item {
                Item::Incomplete { .. } => break,
                Item::Text(text) => {
                    found.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                }
                Item::Binary(bytes) => found.extend(Encoding::Protobuf.commands(&bytes).map(|command| {
                    let mut text = Vec::new();
                    Encoding::Json.command(&command.unwrap(), &mut text);
                    serde_json::from_slice::<Value>(&text).unwrap()
                })),
                other => found.push(Value::String(format!("{other:?}"))),
            }
        }
        self.plain.drain(..at);
        found
    }
}

/// What a server says in JSON, as far as the servers here say it.
fn in_protobuf(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for received in Encoding::Json.received(text.as_bytes()) {
        let (id, reply) = match received.unwrap() {
            Received::Ping => {
                out.extend_from_slice(Encoding::Protobuf.ping());
                continue;
            }
            Received::Push { channel, event: Event::Publication(message), .. } => {
                let publication = Publication { data: message.data, ..Publication::default() };
                Encoding::Protobuf.push(&channel, &Push::Publication(&publication), &mut out);
                continue;
            }
            Received::Reply { id, answer: Answer::Error(failure) } => {
                (id, Reply::Error(code::error(failure.code as u16)))
            }
            Received::Reply { id, answer: Answer::Connect(session) } => {
                (id, Reply::Connect(connected(&session)))
            }
            Received::Reply { id, answer: Answer::Subscribe(_) } => {
                (id, Reply::Subscribe(Subscribed::default()))
            }
            Received::Reply { id, answer: Answer::Publish } => (id, Reply::Publish),
            other => panic!("{other:?}"),
        };
        Encoding::Protobuf.reply(id, &reply, &mut out);
    }
    out
}

fn connected(session: &Session<'_>) -> Connected<'static> {
    Connected {
        client: ClientId::default(),
        version: "",
        expiry: Expiry::Never,
        data: &[],
        subs: &[],
        ping_s: session.ping_s,
        pong: session.pong,
        session: "",
        node: "",
    }
}

/// A server's configuration and the certificate to trust, valid for 127.0.0.1.
pub(crate) fn server_tls() -> &'static (Arc<ServerConfig>, String) {
    static TLS: OnceLock<(Arc<ServerConfig>, String)> = OnceLock::new();
    TLS.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let certified = CertifiedKey::from_der(chain, der, &default_provider()).unwrap();
        let certificates = Arc::new(Certificates::new(vec![certified]).unwrap());
        (tls::server_config(&ServerOptions::default(), certificates).unwrap(), certificate.pem())
    })
}

/// How a [`Server`] behaves where it is not just good.
#[derive(Debug, Clone, Default)]
pub(crate) struct Temper {
    pub(crate) tls: bool,
    /// Seconds announced between pings; one is sent right after the connect reply.
    pub(crate) ping_s: u32,
    /// Answers publishes with this error.
    pub(crate) refuse_publish: Option<u32>,
    /// Answers subscribes with this error.
    pub(crate) refuse_subscribe: Option<u32>,
    /// Closes every connection with this code after the connect reply.
    pub(crate) close: Option<u16>,
    /// Accepts and says nothing.
    pub(crate) deaf: bool,
    /// Subscribers of each channel that are passed over.
    pub(crate) skip: usize,
}

/// A server on a port of its own; ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    tls: bool,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<usize>>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/connection/websocket", if self.tls { "wss" } else { "ws" }, self.addr)
    }

    /// Ends it and returns how many connections were open.
    pub(crate) fn stop(mut self) -> usize {
        self.end().unwrap()
    }

    fn end(&mut self) -> Option<usize> {
        self.stop.store(true, Relaxed);
        self.waker.wake();
        self.thread.take()?.join().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a server on a thread.
pub(crate) fn serve(temper: Temper) -> Server {
    let mut sys = Kernel::new(256).unwrap();
    let waker = sys.waker();
    let listener = sys::listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let addr = sys::local_addr(listener).unwrap();
    sys.watch(listener, 0).unwrap();
    let (stop, tls) = (Arc::new(AtomicBool::new(false)), temper.tls);
    let flag = Arc::clone(&stop);
    let hub = Hub { sys, temper, members: BTreeMap::new(), answers: Vec::new() };
    let thread = std::thread::spawn(move || hub.run(listener, &flag));
    Server { addr, tls, stop, waker, thread: Some(thread) }
}

struct Hub {
    sys: Kernel,
    temper: Temper,
    members: BTreeMap<Handle, Member>,
    answers: Vec<(Handle, Vec<u8>)>,
}

struct Member {
    peer: Peer,
    channel: Option<String>,
    owed: Vec<u8>,
}

impl Hub {
    fn run(mut self, listener: Handle, stop: &AtomicBool) -> usize {
        let mut ready = Vec::new();
        while !stop.load(Relaxed) {
            self.sys.wait(&mut ready, Duration::from_millis(100)).unwrap();
            for one in ready.clone() {
                match one.token {
                    WAKE => {}
                    0 => self.accept(listener),
                    token => self.serve(Handle::try_from(token).unwrap()),
                }
            }
        }
        let open = self.members.len();
        let handles: Vec<Handle> = self.members.keys().copied().chain([listener]).collect();
        handles.into_iter().for_each(|handle| self.sys.close(handle));
        open
    }

    fn accept(&mut self, listener: Handle) {
        while let Ok((handle, _)) = self.sys.accept(listener) {
            self.sys.watch(handle, handle as u64).unwrap();
            let peer = if self.temper.tls { Peer::secure() } else { Peer::default() };
            self.members.insert(handle, Member { peer, channel: None, owed: Vec::new() });
        }
    }

    fn serve(&mut self, handle: Handle) {
        let mut buffer = vec![0; 1 << 16];
        while let Some(member) = self.members.get_mut(&handle) {
            if self.temper.deaf {
                return;
            }
            match self.sys.receive(handle, &mut buffer) {
                Ok(0) => return self.drop(handle),
                Ok(count) => {
                    let mut out = Vec::new();
                    let commands = member.peer.receive(&buffer[..count], &mut out);
                    self.answers.push((handle, out));
                    commands.iter().for_each(|command| self.answer(handle, command));
                    for (to, bytes) in std::mem::take(&mut self.answers) {
                        self.send(to, &bytes);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return self.drop(handle),
            }
        }
        self.send(handle, &[]);
    }

    fn answer(&mut self, handle: Handle, command: &Value) {
        let id = &command["id"];
        let error = |code: u32| format!("{{\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"no\"}}}}");
        let reply = if command.get("connect").is_some() {
            let ping_s = self.temper.ping_s;
            let reply =
                format!("{{\"id\":{id},\"connect\":{{\"client\":\"c\",\"ping\":{ping_s},\"pong\":true}}}}");
            if ping_s > 0 { format!("{reply}\n{{}}") } else { reply }
        } else if let Some(subscribe) = command.get("subscribe") {
            match self.temper.refuse_subscribe {
                Some(code) => error(code),
                None => {
                    let channel = subscribe["channel"].as_str().unwrap().to_owned();
                    self.members.get_mut(&handle).unwrap().channel = Some(channel);
                    format!("{{\"id\":{id},\"subscribe\":{{}}}}")
                }
            }
        } else if let Some(publish) = command.get("publish") {
            match self.temper.refuse_publish {
                Some(code) => error(code),
                None => {
                    self.publish(publish);
                    format!("{{\"id\":{id},\"publish\":{{}}}}")
                }
            }
        } else if command.get("rpc").is_some() {
            error(108)
        } else {
            return;
        };
        self.say(handle, &reply);
        if let Some(code) = self.temper.close {
            let mut out = Vec::new();
            let (payload, bytes) = ws::close_payload(Some(code), "test");
            self.members.get_mut(&handle).unwrap().peer.frame(Opcode::Close, &payload[..bytes], &mut out);
            self.answers.push((handle, out));
        }
    }

    fn publish(&mut self, publish: &Value) {
        let push = format!(
            "{{\"push\":{{\"channel\":{},\"pub\":{{\"data\":{}}}}}}}",
            publish["channel"], publish["data"]
        );
        let there = |member: &Member| member.channel.as_deref() == publish["channel"].as_str();
        let to: Vec<Handle> =
            self.members.iter().filter(|(_, member)| there(member)).map(|(handle, _)| *handle).collect();
        to.into_iter().skip(self.temper.skip).for_each(|handle| self.say(handle, &push));
    }

    fn say(&mut self, handle: Handle, text: &str) {
        let mut out = Vec::new();
        self.members.get_mut(&handle).unwrap().peer.say(text, &mut out);
        self.answers.push((handle, out));
    }

    fn send(&mut self, handle: Handle, bytes: &[u8]) {
        let Some(member) = self.members.get_mut(&handle) else { return };
        member.owed.extend_from_slice(bytes);
        if member.owed.is_empty() {
            return;
        }
        match self.sys.send(handle, &member.owed) {
            Ok(sent) => drop(member.owed.drain(..sent)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.drop(handle),
        }
    }

    fn drop(&mut self, handle: Handle) {
        if self.members.remove(&handle).is_some() {
            self.sys.close(handle);
        }
    }
}
