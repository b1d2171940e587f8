//! What a full TLS 1.3 handshake costs the server, next to what it costs at least: the same handshake done in memory by the TLS
//! library alone, plus the bare system calls that carry it, all in one run.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};

use super::bare_server::BareServer;
use super::wire_calls::{self, Flights};
use super::{Figure, Options, Target, median};
use crate::client;
use crate::credentials::Authority;
use crate::wait;
use crate::world::World;

/// Handshakes of one measurement.
const HANDSHAKES: usize = 4_000;
/// Clients that shake hands at the same time, here and with the bare calls: a small reconnect storm, which is when the cost of a
/// handshake matters.
pub(super) const CLIENTS: usize = 32;

pub(super) fn run(options: &Options) -> Result<Vec<Figure>> {
    let count = options.connections.unwrap_or(HANDSHAKES);
    let (memory_us, flights) = in_memory(count.min(HANDSHAKES))?;
    let calls_us = wire_calls::cpu_us(flights, count)?;
    let server_us = bare_server(count)?;
    let (gateway_us, relay_us) = gateway(count)?;
    let floor_us = memory_us + calls_us;
    let whole_us = gateway_us + relay_us;
    Ok(vec![
        Figure::told("in memory", memory_us, "us"),
        Figure::told("bare calls", calls_us, "us"),
        Figure::told("gateway", gateway_us, "us"),
        Figure::told("relay (signature)", relay_us, "us"),
        Figure::aimed("gateway and relay / floor", whole_us / floor_us, "x", Target::AtMost(1.25)),
        Figure::told("a bare rustls server", server_us, "us"),
        Figure::told("gateway and relay / a bare rustls server", whole_us / server_us, "x"),
    ])
}

/// The server's time per handshake when both ends are in memory: the median, so that a preempted one does not raise the floor.
/// Also the sizes of the flights.
fn in_memory(count: usize) -> Result<(f64, Flights)> {
    let (server, client) = configurations()?;
    let mut took_us = Vec::with_capacity(count);
    let mut flights = Flights::default();
    for _ in 0..count {
        let (time, sizes) = shake_in_memory(&server, &client)?;
        took_us.push(time.as_secs_f64() * 1e6);
        flights = sizes;
    }
    Ok((median(&took_us), flights))
}

/// CPU per handshake of a server that does nothing else, with the same clients as the gateway has.
fn bare_server(count: usize) -> Result<f64> {
    let (server, client) = configurations()?;
    let server = BareServer::start(&server)?;
    storm(server.address, &client, count)?;
    Ok(server.stop()?.as_secs_f64() * 1e6 / count as f64)
}

/// Both ends by rustls alone.
fn configurations() -> Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let authority = Authority::new()?;
    let made = authority.server(&["localhost"])?;
    let chain = vec![CertificateDer::from_pem_slice(made.chain.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes())?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.ticketer = provider::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok((Arc::new(server), client_config(authority.certificate())?))
}

fn shake_in_memory(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(Duration, Flights)> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("localhost")?)?;
    let hello = drain(|out| client.write_tls(out), usize::MAX)?;
    let started = wait::now();
    let mut server = ServerConnection::new(Arc::clone(server))?;
    feed(&hello, |bytes| server.read_tls(bytes))?;
    server.process_new_packets()?;
    let answer = drain(|out| server.write_tls(out), usize::MAX)?;
    let first = started.elapsed();
    feed(&answer, |bytes| client.read_tls(bytes))?;
    client.process_new_packets()?;
    let finished = drain(|out| client.write_tls(out), usize::MAX)?;
    let started = wait::now();
    feed(&finished, |bytes| server.read_tls(bytes))?;
    server.process_new_packets()?;
    let tickets = drain(|out| server.write_tls(out), usize::MAX)?;
    let took = first + started.elapsed();
    ensure!(!server.is_handshaking() && !client.is_handshaking(), "the handshake is not done");
    let sizes = Flights {
        hello: hello.len(),
        answer: answer.len(),
        finished: finished.len(),
        tickets: tickets.len(),
    };
    Ok((took, sizes))
}

pub(super) fn drain(
    mut write: impl FnMut(&mut dyn Write) -> std::io::Result<usize>,
    bound: usize,
) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    while out.len() < bound && write(&mut out)? > 0 {}
    Ok(out)
}

fn feed(mut bytes: &[u8], mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>) -> Result<()> {
    while !bytes.is_empty() {
        ensure!(read(&mut bytes)? > 0, "the TLS library takes no more");
    }
    Ok(())
}

/// CPU per handshake of the gateway and of the relay, which signs.
fn gateway(count: usize) -> Result<(f64, f64)> {
    let world = World::builder().relay("[client]\nstale_close_delay = \"1h\"\n").start()?;
    let config = client_config(world.authority.certificate())?;
    storm(world.secure, &config, count / 10 + 1)?;
    let before = (world.gateway.cpu()?, world.relay.cpu()?);
    storm(world.secure, &config, count)?;
    let after = (world.gateway.cpu()?, world.relay.cpu()?);
    let each_us = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / count as f64;
    Ok((each_us(before.0, after.0), each_us(before.1, after.1)))
}

/// Clients that connect, shake hands, wait for the server's tickets and leave, `count` times together.
fn storm(address: SocketAddr, config: &Arc<ClientConfig>, count: usize) -> Result<()> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let config = Arc::clone(config);
            let share = count / CLIENTS + usize::from(client < count % CLIENTS);
            thread::spawn(move || (0..share).try_for_each(|number| shake(address, client, number, &config)))
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(())
}

fn shake(address: SocketAddr, client: usize, number: usize, config: &Arc<ClientConfig>) -> Result<()> {
    let mut tcp = connect(address, client * 16 + number % 16)?;
    let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).context("a handshake failed")?;
    }
    // The tickets say that the server has taken our Finished.
    tls.read_tls(&mut tcp)?;
    tls.process_new_packets()?;
    Ok(())
}

/// Connects from one of many loopback addresses, so that no address runs out of ports.
pub(super) fn connect(address: SocketAddr, source: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let last = u8::try_from(source % 200 + 2).context("a small number")?;
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)).into())?;
    socket.connect_timeout(&address.into(), client::WITHIN)?;
    socket.set_read_timeout(Some(client::WITHIN))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// TLS 1.3, X25519, AES-128-GCM preferred, no resumption: the handshake that figures of other servers were taken with.
pub(super) fn client_config(authority: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let mut provider = provider::default_provider();
    provider.kx_groups = vec![provider::kx_group::X25519];
    provider.cipher_suites = vec![provider::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_a_handshake_is_measured_in_memory_and_on_sockets() {
        let (memory_us, flights) = in_memory(4).unwrap();
        assert!(memory_us > 0.0 && flights.answer > flights.hello && flights.tickets > 0, "{flights:?}");
        assert!(wire_calls::cpu_us(flights, 20).unwrap() > 0.0);
    }
}
