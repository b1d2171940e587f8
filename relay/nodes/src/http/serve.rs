//! The server: connections with bounds and deadlines, and what every request passes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time;

use super::cors;
use crate::limits::{
    ACCEPT_PAUSE, ANSWER_WITHIN, HEADER_BYTES_MAX, HEADER_WITHIN, STOP_WITHIN, TAKEN_WITHIN,
};
use crate::log::log;
use crate::openapi;
use crate::problem::{Kind, Problem, Told};
use crate::relays::answers;
use crate::report;
use crate::state::Node;

/// What is under way in a database goes on.
const TOOK_TOO_LONG: &str =
    "It took too long. Whether a write was done is not known: the same request with the same key tells";

/// Everything that is served.
pub fn routes(node: &Arc<Node>) -> Router {
    openapi::routes()
        .merge(report::routes())
        .merge(answers::routes(node))
        .fallback(|| async { Problem::missing() })
        .method_not_allowed_fallback(|| async { Problem::new(Kind::Method, "") })
        .layer(middleware::from_fn_with_state(Arc::clone(node), bounded))
        .layer(middleware::from_fn_with_state(Arc::clone(node), cors::cors))
        .with_state(Arc::clone(node))
}

/// Counts a request, and refuses it where too many are under way or it takes too long.
async fn bounded(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let began = node.clock.now();
    let method = word(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let response = match node.counters.begin(node.checked.config.limits.requests) {
        Some(_under_way) => {
            let late = |_| Problem::new(Kind::Busy, TOOK_TOO_LONG).into_response();
            time::timeout(ANSWER_WITHIN, next.run(request)).await.unwrap_or_else(late)
        }
        None => Problem::new(Kind::Busy, "").into_response(),
    };
    if let Some(Told { slug, why }) = response.extensions().get() {
        node.counters.problem(slug);
        if !why.is_empty() && node.counters.may_log(node.clock.now()) {
            log!("{method} {route}: {why}");
        }
    }
    node.counters.answered(
        method,
        &route,
        response.status().as_u16(),
        node.clock.now().saturating_sub(began),
    );
    response
}

/// Strangers may call methods anything.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Serves until `stop` says so, then finishes what is in progress.
pub async fn serve(listener: TcpListener, node: Arc<Node>, routes: Router, mut stop: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(node.checked.config.limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer, permit)) = accepted else {
            time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = hyper::service::Service::call(&service, request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|error: Infallible| match error {})) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_WITHIN)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            node.counters.connection(1);
            // What goes wrong on a connection is its client's affair.
            let _ = connection.await;
            node.counters.connection(-1);
            drop(permit);
        });
    }
    drop(listener);
    if time::timeout(STOP_WITHIN, graceful.shutdown()).await.is_err() {
        log!("some requests did not end in time");
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    let (stream, peer) = listener.accept().await.ok()?;
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(TAKEN_WITHIN));
    Some((stream, peer, permit))
}
