//! What TLS costs a server in CPU, in memory and without sockets: full TLS 1.3 handshakes (ECDSA P-256) through our
//! [`Handshake`] beside the same ones by rustls alone, and records of 220 bytes beside the bare AEAD.
//!
//! `cargo run --release -p protocol --example tls_cost [-- --json]`. CPU time of this thread, medians of many batches; the
//! ways take turns within each batch, so that they see the same machine.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use protocol::tls::certificate::{Remote, RemoteKey};
use protocol::tls::{
    Begun, Certificates, ClientOptions, Handshake, Opened, Progress, ServerOptions, Suite, Traffic, Trust,
    Unsigned, client_config, server_config, tickets,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::UnbufferedServerConnection;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SignatureScheme};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Handshakes of each way in a batch, and batches.
const HANDSHAKES: usize = 40;
const BATCHES: usize = 41;
const RECORDS: usize = 20_000;
const RECORD_BATCHES: usize = 15;
const RECORD_BYTES: usize = 220;

fn main() -> Result<()> {
    let json = std::env::args().any(|argument| argument == "--json");
    let world = World::new()?;
    let handshakes = world.handshakes()?;
    let suites = [Suite::Aes128, Suite::Aes256, Suite::ChaCha];
    let records: Vec<(Suite, Records)> =
        suites.into_iter().map(|suite| Ok((suite, world.records(suite)?))).collect::<Result<_>>()?;
    if json {
        print_json(&handshakes, &records);
    } else {
        print_text(&handshakes, &records);
    }
    Ok(())
}

/// Microseconds of server CPU per handshake.
struct Handshakes {
    ours: f64,
    buffered: f64,
    unbuffered: f64,
    /// Ours with the X25519MLKEM768 group.
    post_quantum: f64,
    /// Ours with the first flight in two passes around the signature.
    two_passes: f64,
}

/// Nanoseconds per record.
struct Records {
    aead: f64,
    set_up: f64,
    seal: f64,
    seal_with: f64,
    open: f64,
}

struct World {
    ours: Arc<ServerConfig>,
    /// The same without our key log.
    theirs: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    ours_post_quantum: Arc<ServerConfig>,
    client_post_quantum: Arc<ClientConfig>,
    /// With a key that another process could hold, and the key.
    remote: Arc<ServerConfig>,
    key: Holder,
}

/// Signs as the relay does, but here.
#[derive(Clone)]
struct Holder(Arc<dyn SigningKey>);

impl Remote for Holder {
    fn sign(&self, _key: u32, scheme: u16, message: &[u8]) -> std::result::Result<Vec<u8>, Unsigned> {
        let signer = self.0.choose_scheme(&[SignatureScheme::from(scheme)]).ok_or(Unsigned::Refused)?;
        signer.sign(message).map_err(|_| Unsigned::Unavailable)
    }
}

struct TwoPasses {
    handshake: Handshake,
    key: Holder,
}

impl World {
    fn new() -> Result<Self> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)?;
        let options = ServerOptions { tickets: Some(tickets()?), ..ServerOptions::default() };
        let key = Holder(Arc::clone(&certified.key));
        let remote = RemoteKey::new(1, &[0x0403], Arc::new(key.clone()))?;
        let remote = CertifiedKey::new(certified.cert.clone(), Arc::new(remote));
        let remote = server_config(&options, Arc::new(Certificates::new(vec![remote])?))?;
        let certificates = Arc::new(Certificates::new(vec![certified])?);
        let ours = server_config(&options, Arc::clone(&certificates) as _)?;
        let ours_post_quantum =
            server_config(&ServerOptions { post_quantum: true, ..options }, certificates)?;
        let mut theirs = ServerConfig::clone(&ours);
        theirs.key_log = Arc::new(rustls::NoKeyLog);
        let client = ClientOptions { trust: Trust::Insecure, ..ClientOptions::default() };
        Ok(Self {
            ours,
            theirs: Arc::new(theirs),
            client: client_config(&client)?,
            ours_post_quantum,
            client_post_quantum: client_config(&ClientOptions { post_quantum: true, ..client })?,
            remote,
            key,
        })
    }

    fn handshakes(&self) -> Result<Handshakes> {
        let mut times: [Vec<Duration>; 5] = Default::default();
        let [client, client_post_quantum] = [&self.client, &self.client_post_quantum];
        for _ in 0..BATCHES {
            times[0].push(batch(client, || Ok(Handshake::server(&self.ours)?))?);
            times[1].push(batch(client, || Ok(ServerConnection::new(Arc::clone(&self.theirs))?))?);
            times[2].push(batch(client, || Ok(UnbufferedServerConnection::new(Arc::clone(&self.theirs))?))?);
            times[3].push(batch(client_post_quantum, || Ok(Handshake::server(&self.ours_post_quantum)?))?);
            times[4].push(batch(client, || {
                Ok(TwoPasses { handshake: Handshake::server(&self.remote)?, key: self.key.clone() })
            })?);
        }
        let [ours, buffered, unbuffered, post_quantum, two_passes] =
            times.map(|times| median(times).as_secs_f64() * 1e6 / HANDSHAKES as f64);
        Ok(Handshakes { ours, buffered, unbuffered, post_quantum, two_passes })
    }

    fn records(&self, suite: Suite) -> Result<Records> {
        let text = [0x61; RECORD_BYTES];
        let mut out = Vec::with_capacity(RECORDS * (RECORD_BYTES + 40));
        let mut times: [Vec<Duration>; 5] = Default::default();
        let key_bytes = if suite == Suite::Aes128 { 16 } else { 32 };
        let algorithm = match suite {
            Suite::Aes128 => &aws_lc_rs::aead::AES_128_GCM,
            Suite::Aes256 => &aws_lc_rs::aead::AES_256_GCM,
            _ => &aws_lc_rs::aead::CHACHA20_POLY1305,
        };
        let raw = [7; 32];
        let key = LessSafeKey::new(UnboundKey::new(algorithm, &raw[..key_bytes])?);
        for _ in 0..RECORD_BATCHES {
            let (mut server, _) = self.pair(suite)?;
            let mut buffer = text;
            times[0].push(time(|| {
                for _ in 0..RECORDS {
                    let nonce = Nonce::assume_unique_for_key([9; 12]);
                    let tag = key.seal_in_place_separate_tag(nonce, Aad::from([0; 5]), &mut buffer)?;
                    std::hint::black_box(&tag);
                }
                Ok(())
            })?);
            times[1].push(time(|| {
                for _ in 0..RECORDS {
                    let key = UnboundKey::new(algorithm, std::hint::black_box(&raw[..key_bytes]))?;
                    std::hint::black_box(&LessSafeKey::new(key));
                }
                Ok(())
            })?);
            times[2].push(time(|| {
                for _ in 0..RECORDS {
                    out.clear();
                    server.seal(&text, &mut out)?;
                }
                Ok(())
            })?);
            times[3].push(time(|| {
                for _ in 0..RECORDS {
                    out.clear();
                    server.seal_with(&mut out, |out| out.extend_from_slice(&text))?;
                }
                Ok(())
            })?);
            // A pair of its own: the client has to see every record.
            let (mut server, mut client) = self.pair(suite)?;
            out.clear();
            for _ in 0..RECORDS {
                server.seal(&text, &mut out)?;
            }
            times[4].push(time(|| {
                let mut at = 0;
                while at < out.len() {
                    let (used, opened) = client.open(&mut out[at..])?;
                    if !matches!(opened, Opened::Data(_)) {
                        return Err("not a record of data".into());
                    }
                    at += used;
                }
                Ok(())
            })?);
        }
        let [aead, set_up, seal, seal_with, open] =
            times.map(|times| median(times).as_secs_f64() * 1e9 / RECORDS as f64);
        Ok(Records { aead, set_up, seal, seal_with, open })
    }

    /// Both ends of an established connection.
    fn pair(&self, suite: Suite) -> Result<(Traffic, Traffic)> {
        let options =
            ClientOptions { trust: Trust::Insecure, suites: vec![suite], ..ClientOptions::default() };
        let config = client_config(&options)?;
        let mut server = Handshake::server(&self.ours)?;
        let mut client = Handshake::client(&config, "localhost".try_into()?)?;
        let (mut up, mut down) = (Vec::new(), Vec::new());
        client.receive(&mut down, &mut up)?;
        server.receive(&mut up, &mut down)?;
        let Progress::Done(client) = client.receive(&mut down, &mut up)? else {
            return Err("the client is not done".into());
        };
        let Progress::Done(server) = server.receive(&mut up, &mut down)? else {
            return Err("the server is not done".into());
        };
        let (server, mut client) = (server.traffic, client.traffic);
        client.open(&mut down)?;
        Ok((server, client))
    }
}

/// A server in the middle of a handshake, one way or the other.
trait Server: Sized {
    type Kept;

    /// The flight with the key exchange and the signature.
    fn hello(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()>;

    /// The flight that ends it; what an idle connection keeps.
    fn last(self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Self::Kept>;
}

impl Server for Handshake {
    type Kept = Traffic;

    fn hello(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        self.receive(input, out)?;
        Ok(())
    }

    fn last(mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Traffic> {
        match self.receive(input, out)? {
            Progress::Done(done) => Ok(done.traffic),
            Progress::More => Err("not done".into()),
        }
    }
}

impl Server for TwoPasses {
    type Kept = Traffic;

    fn hello(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        let Begun::Unsigned = self.handshake.begin(input, out)? else {
            return Err("no signature was needed".into());
        };
        let wanted = self.handshake.wanted().ok_or("nothing is wanted")?;
        let signature = self.key.sign(wanted.key, wanted.scheme, &wanted.message);
        self.handshake.signed(signature, input, out)?;
        Ok(())
    }

    fn last(self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Traffic> {
        self.handshake.last(input, out)
    }
}

/// The ordinary way; the connection stays what it is.
impl Server for ServerConnection {
    type Kept = Self;

    fn hello(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        let mut rest = &input[..];
        while !rest.is_empty() {
            self.read_tls(&mut rest)?;
            self.process_new_packets()?;
        }
        while self.wants_write() {
            self.write_tls(out)?;
        }
        Ok(())
    }

    fn last(mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Self> {
        self.hello(input, out)?;
        Ok(self)
    }
}

/// The way without buffers, all records at once.
impl Server for UnbufferedServerConnection {
    type Kept = Self;

    fn hello(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        let mut at = 0;
        loop {
            let status = self.process_tls_records(&mut input[at..]);
            at += status.discard;
            match status.state? {
                ConnectionState::EncodeTlsData(mut data) => {
                    let start = out.len();
                    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                        out.resize(start + size.required_size, 0);
                        data.encode(&mut out[start..])?;
                    }
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Ok(()),
            }
        }
    }

    fn last(mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<Self> {
        self.hello(input, out)?;
        Ok(self)
    }
}

/// Server CPU of a batch: all first flights, then (after the clients' part) all second ones, and the end of what rustls
/// holds.
fn batch<S: Server>(config: &Arc<ClientConfig>, make: impl Fn() -> Result<S>) -> Result<Duration> {
    let name = rustls::pki_types::ServerName::try_from("localhost")?;
    let mut clients = Vec::new();
    let mut hellos = Vec::new();
    for _ in 0..HANDSHAKES {
        let mut client = ClientConnection::new(Arc::clone(config), name.clone())?;
        let mut hello = Vec::new();
        client.write_tls(&mut hello)?;
        clients.push(client);
        hellos.push(hello);
    }
    let mut servers = Vec::with_capacity(HANDSHAKES);
    let mut answers = Vec::with_capacity(HANDSHAKES);
    let start = cpu();
    for hello in &mut hellos {
        let mut server = make()?;
        let mut out = Vec::with_capacity(4096);
        server.hello(hello, &mut out)?;
        servers.push(server);
        answers.push(out);
    }
    let mut total = cpu() - start;
    let mut finals = Vec::with_capacity(HANDSHAKES);
    for (client, answer) in clients.iter_mut().zip(&answers) {
        client.read_tls(&mut &answer[..])?;
        client.process_new_packets()?;
        let mut last = Vec::new();
        client.write_tls(&mut last)?;
        finals.push(last);
    }
    let mut kept = Vec::with_capacity(HANDSHAKES);
    let start = cpu();
    for ((server, last), out) in servers.into_iter().zip(&mut finals).zip(&mut answers) {
        out.clear();
        kept.push(server.last(last, out)?);
    }
    total += cpu() - start;
    for (client, out) in clients.iter_mut().zip(&answers) {
        client.read_tls(&mut &out[..])?;
        client.process_new_packets()?;
        if client.is_handshaking() {
            return Err("a handshake was not completed".into());
        }
    }
    Ok(total)
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = cpu();
    work()?;
    Ok(cpu() - start)
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn print_text(handshakes: &Handshakes, records: &[(Suite, Records)]) {
    let Handshakes { ours, buffered, unbuffered, post_quantum, two_passes } = handshakes;
    println!("server CPU of a full TLS 1.3 handshake, ECDSA P-256, in memory (µs)");
    println!("  ours, rustls dropped at the end  {ours:>7.1}");
    println!("  rustls buffered, kept            {buffered:>7.1}  (ours: {:.3} of it)", ours / buffered);
    println!("  rustls unbuffered, kept          {unbuffered:>7.1}  (ours: {:.3} of it)", ours / unbuffered);
    println!(
        "  ours with X25519MLKEM768         {post_quantum:>7.1}  ({:.3} of it without)",
        post_quantum / ours
    );
    println!("  ours, first flight in two passes {two_passes:>7.1}  ({:+.1} to ours)", two_passes - ours);
    println!("a record of {RECORD_BYTES} bytes (ns)");
    println!("  suite    bare AEAD  key set-up   seal  seal_with   open  seal_with beyond AEAD");
    for (suite, r) in records {
        println!(
            "  {:<8} {:>9.0} {:>11.0} {:>6.0} {:>10.0} {:>6.0} {:>22.0}",
            format!("{suite:?}"),
            r.aead,
            r.set_up,
            r.seal,
            r.seal_with,
            r.open,
            r.seal_with - r.aead
        );
    }
}

fn print_json(handshakes: &Handshakes, records: &[(Suite, Records)]) {
    let Handshakes { ours, buffered, unbuffered, post_quantum, two_passes } = handshakes;
    let records: Vec<_> = records
        .iter()
        .map(|(suite, r)| {
            serde_json::json!({
                "suite": format!("{suite:?}"), "aead_ns": r.aead, "set_up_ns": r.set_up, "seal_ns": r.seal,
                "seal_with_ns": r.seal_with, "open_ns": r.open,
            })
        })
        .collect();
    let handshake = serde_json::json!({
        "ours_us": ours, "rustls_buffered_us": buffered, "rustls_unbuffered_us": unbuffered,
        "ours_post_quantum_us": post_quantum, "ours_two_passes_us": two_passes,
    });
    println!(
        "{}",
        serde_json::json!({ "handshake": handshake, "record_bytes": RECORD_BYTES, "records": records })
    );
}
