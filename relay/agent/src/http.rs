//! HTTP on the private address: metrics, health and the server API.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use relay::Standing;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api;
use crate::limits::HTTP_CONNECTIONS_MAX;
use crate::log::log;
use crate::report;
use crate::state::Relay;

/// Serves until `stop` says so, then finishes what is in progress.
pub(crate) async fn serve(listener: TcpListener, relay: Arc<Relay>, mut stop: watch::Receiver<bool>) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/health/ready", get(ready))
        .with_state(Arc::clone(&relay))
        .merge(api::routes(relay));
    let listener = Bounded { listener, connections: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)) };
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stopped).await {
        log!("HTTP ended: {error}");
    }
}

async fn metrics(State(relay): State<Arc<Relay>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], report::metrics(&relay))
}

/// Alive whenever it answers; ready once a shard is linked.
async fn health(State(relay): State<Arc<Relay>>) -> Json<Value> {
    Json(state(&relay))
}

/// The same, with 503 while not ready.
async fn ready(State(relay): State<Arc<Relay>>) -> impl IntoResponse {
    let state = state(&relay);
    let status = if state["ready"] == json!(true) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(state))
}

fn state(relay: &Relay) -> Value {
    let (links, uptime) = (relay.links(), relay.uptime());
    let up: Vec<Value> = links
        .iter()
        .map(|link| {
            let seconds = uptime.saturating_sub(link.since).as_secs();
            json!({ "gateway": format!("{:016x}", link.gateway), "shard": link.shard, "up_seconds": seconds })
        })
        .collect();
    let bus: Vec<Value> = relay
        .bus_links()
        .into_iter()
        .map(|link| {
            let seconds = uptime.saturating_sub(link.since).as_secs();
            let mut value = json!({ "name": link.name, "up": link.up, "since_seconds": seconds });
            if let Some(error) = link.error {
                value["error"] = json!(error);
            }
            value
        })
        .collect();
    let proxies: Vec<Value> = relay
        .proxies()
        .all()
        .map(|endpoint| {
            let state = breaker(endpoint.standing());
            json!({ "name": endpoint.name(), "endpoint": endpoint.place(), "breaker": state })
        })
        .collect();
    let mut health = json!({
        "live": true,
        "ready": !links.is_empty(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime.as_secs(),
        "links": up,
        "proxies": proxies,
        "bus": bus,
    });
    if let Some(node) = relay.node() {
        let place = |(address, standing)| json!({ "address": address, "breaker": breaker(standing) });
        health["nodes"] = node.pool().places().map(place).collect();
    }
    health
}

const fn breaker(standing: Standing) -> &'static str {
    match standing {
        Standing::Closed => "closed",
        Standing::HalfOpen => "half_open",
        Standing::Open => "open",
    }
}

/// A listener that takes no further connection while as many as the bound are open.
struct Bounded {
    listener: TcpListener,
    connections: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Counted;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Counted, Self::Addr) {
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        (Counted { stream, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that counts as open until it is dropped.
struct Counted {
    stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, out)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
