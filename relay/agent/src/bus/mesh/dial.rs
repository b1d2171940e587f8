//! Connections to other edges, made and taken: of two edges the one with the smaller name dials, with pauses that grow and differ.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use relay::Backoff;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time;

use super::link::{self, Ended};
use super::proof::{self, Refused};
use super::{MeshBus, note};
use crate::config::private;
use crate::limits::{
    ACCEPT_PAUSE, MESH_CONNECTIONS_MAX, MESH_DIAL_PAUSE, MESH_DIAL_TIMEOUT, MESH_REFUSED_PAUSE,
};
use crate::log::log;

/// Dials every edge that is this one's to dial and is not dialed yet.
pub(super) fn dial_all(bus: &Arc<MeshBus>) {
    for name in bus.book.to_dial() {
        tokio::spawn(keep(Arc::clone(bus), name));
    }
}

/// Keeps a connection to an edge while it is listed.
async fn keep(bus: Arc<MeshBus>, name: String) {
    let mut seed = [0; 8];
    // Without random numbers edges only come back more in step.
    let _ = aws_lc_rs::rand::fill(&mut seed);
    let mut backoff = Backoff::new(MESH_DIAL_PAUSE.0, MESH_DIAL_PAUSE.1, u64::from_le_bytes(seed));
    while let Some(address) = bus.book.address(&name) {
        let lasts = match time::timeout(MESH_DIAL_TIMEOUT, dial(&bus, &name, &address)).await {
            Ok(Ok((stream, edge))) => {
                let began = bus.relay.uptime();
                let ended = link::serve(&bus, stream, &name, edge).await;
                note(&bus, &name, &ended.to_string());
                if bus.relay.uptime().saturating_sub(began) > MESH_DIAL_PAUSE.1 {
                    backoff.worked();
                }
                matches!(ended, Ended::Stranger(_))
            }
            Ok(Err(refused)) => {
                note(&bus, &name, &format!("{address}: {refused}"));
                refused.lasts()
            }
            Err(_) => {
                let within = MESH_DIAL_TIMEOUT.as_secs();
                note(&bus, &name, &format!("{address}: no answer within {within} s"));
                false
            }
        };
        if lasts {
            bus.book.stranger();
        }
        let pause = backoff.failed();
        time::sleep(if lasts { pause.max(MESH_REFUSED_PAUSE) } else { pause }).await;
    }
}

type Stream = tokio_rustls::TlsStream<TcpStream>;

async fn dial(bus: &MeshBus, name: &str, address: &str) -> Result<(Stream, relay::bus::EdgeId), Refused> {
    let found: Vec<SocketAddr> = lookup_host(address).await?.collect();
    if !bus.public
        && let Some(public) = found.iter().find(|address| !private(address.ip()))
    {
        let text = format!("{public} is public: set bus.mesh.allow_public_address if that is meant");
        return Err(io::Error::other(text).into());
    }
    let stream = TcpStream::connect(&*found).await?;
    stream.set_nodelay(true)?;
    let mut stream = bus.identity.connect(stream, name).await?;
    let means = bus.identity.means(&stream)?;
    let edge = proof::dialing(&mut stream, &means, (bus.book.me(), bus.run), name).await?;
    Ok((stream, edge))
}

/// Takes connections of other edges.
pub(super) async fn accept(bus: &Arc<MeshBus>, listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(MESH_CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let bus = Arc::clone(bus);
                tokio::spawn(async move {
                    greet(&bus, stream, from).await;
                    drop(permit);
                });
            }
            Err(error) => {
                log!("accepting an edge failed: {error}");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn greet(bus: &Arc<MeshBus>, stream: TcpStream, from: SocketAddr) {
    match time::timeout(MESH_DIAL_TIMEOUT, meet(bus, stream)).await {
        Ok((Some(name), Ok((stream, edge)))) => {
            let ended = link::serve(bus, stream, &name, edge).await;
            note(bus, &name, &ended.to_string());
        }
        // Somebody who has said a name is known by it; an address is not worth more than its host.
        Ok((name, Err(refused))) => {
            bus.book.stranger();
            let who = name.unwrap_or_else(|| from.ip().to_string());
            note(bus, &who, &format!("{} was refused: {refused}", from.ip()));
        }
        Ok((None, Ok(_))) => debug_assert!(false, "who is let in has a name"),
        Err(_) => {
            bus.book.stranger();
            note(bus, &from.ip().to_string(), "it has not said who it is in time");
        }
    }
}

async fn meet(
    bus: &MeshBus,
    stream: TcpStream,
) -> (Option<String>, Result<(Stream, relay::bus::EdgeId), Refused>) {
    let secured = async {
        stream.set_nodelay(true)?;
        let stream = bus.identity.accept(stream).await?;
        let means = bus.identity.means(&stream)?;
        Ok::<_, io::Error>((stream, means))
    };
    let (mut stream, means) = match secured.await {
        Ok(secured) => secured,
        Err(error) => return (None, Err(error.into())),
    };
    let (name, met) =
        proof::accepting(&mut stream, &means, (bus.book.me(), bus.run), |name| bus.book.knows(name)).await;
    drop(means);
    (name, met.map(|edge| (stream, edge)))
}
