//! How the node is: health and metrics.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::counters::BUCKETS_US;
use crate::problem::Problem;
use crate::state::Node;
use crate::store::StoreError;

/// Health, as it is described.
pub(crate) fn described() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready))
}

/// Metrics.
pub(crate) fn routes() -> axum::Router<Arc<Node>> {
    axum::Router::new().route("/metrics", get(metrics))
}

/// How the node is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// It answers.
    live: bool,
    /// It reads and stores.
    ready: bool,
    version: &'static str,
    uptime_seconds: u64,
    /// Some relay takes what it is told, as far as is known.
    relays: bool,
    /// Each of the databases.
    stores: Vec<StoreHealth>,
}

/// How a database is.
#[derive(Serialize, ToSchema)]
struct StoreHealth {
    /// The cluster, and which of its databases.
    name: String,
    ready: bool,
    /// What is wrong: the last part of a problem's type.
    problem: Option<&'static str>,
}

/// Alive whenever it answers; ready while every database takes writes.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
async fn health(State(node): State<Arc<Node>>) -> Json<Health> {
    Json(state(&node).await)
}

/// The same, with 503 while not ready.
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health, description = "A database is away.")))]
async fn ready(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let state = state(&node).await;
    (if state.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(state))
}

async fn state(node: &Node) -> Health {
    let named = named(node);
    let ask = || async {
        let mut told = Vec::with_capacity(named.len());
        for (_, store) in &named {
            told.push(store.health().await.err());
        }
        told
    };
    let told = node.health.ask((), ask).await;
    let stores: Vec<StoreHealth> = named
        .iter()
        .zip(told)
        .map(|((name, _), error)| {
            let problem = error.as_ref().map(word);
            StoreHealth { name: name.clone(), ready: problem.is_none(), problem }
        })
        .collect();
    Health {
        live: true,
        ready: stores.iter().all(|store| store.ready),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: node.clock.now().as_secs(),
        relays: node.teller.is_up(),
        stores,
    }
}

fn word(error: &StoreError) -> &'static str {
    Problem::from(error.clone()).slug()
}

/// The databases, by cluster and place.
fn named(node: &Node) -> Vec<(String, &Arc<dyn crate::store::Store>)> {
    let clusters = node.checked.clusters.iter();
    let stores = clusters.flat_map(|(name, _)| {
        let stores = node.router.cluster(name).unwrap_or_default().iter().enumerate();
        stores.map(move |(place, store)| (format!("{name}[{place}]"), store))
    });
    std::iter::once(("control".to_owned(), node.router.control())).chain(stores).collect()
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text(&node))
}

fn text(node: &Node) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        for ((method, route, status), count) in node.counters.requests() {
            let labels = [("method", method.to_owned()), ("route", route), ("status", status.to_string())];
            counter!("headland_node_requests_total", &labels).increment(count);
        }
        for (problem, count) in node.counters.problems() {
            counter!("headland_node_problems_total", "problem" => problem).increment(count);
        }
        let (under_way, refused, cached, connections) = node.counters.levels();
        counter!("headland_node_refused_total").increment(refused);
        counter!("headland_node_pages_cached_total").increment(cached);
        macro_rules! gauges {
            ($($name:literal = $value:expr;)*) => {$(gauge!($name).set($value as f64);)*};
        }
        gauges! {
            "headland_node_requests_under_way" = under_way;
            "headland_node_connections" = connections;
            "headland_node_pages_bytes" = node.pages.bytes();
            "headland_node_pages_reading" = node.pages.reading();
            "headland_node_marks_waiting" = node.marks.len();
            "headland_node_hashes_waiting" = node.hasher.waiting();
            "headland_node_dispatch_bytes" = node.dispatch.shared().bytes();
        }
        let told = &node.teller.counters;
        for (name, total) in [
            ("announced", &told.announced),
            ("announce_failed", &told.failed),
            ("swept", &told.swept),
            ("notices", &told.notices),
            ("events_lost", &told.events_lost),
        ] {
            let total = total.load(std::sync::atomic::Ordering::Relaxed);
            counter!("headland_node_told_total", "what" => name).increment(total);
        }
        let (messages, transactions, waiting) = node.writers.levels();
        counter!("headland_node_messages_stored_total").increment(messages);
        counter!("headland_node_transactions_total").increment(transactions);
        gauge!("headland_node_store_waiting_bytes").set(waiting as f64);
        let fast = node.fast.counters();
        for (name, total) in [
            ("taken", &fast.taken),
            ("refused", &fast.refused),
            ("stored", &fast.stored),
            ("lost", &fast.lost),
        ] {
            let total = total.load(std::sync::atomic::Ordering::Relaxed);
            counter!("headland_node_fast_total", "what" => name).increment(total);
        }
        let (waiting, bytes) = node.fast.levels();
        gauge!("headland_node_fast_waiting").set(waiting as f64);
        gauge!("headland_node_fast_waiting_bytes").set(bytes as f64);
        gauge!("headland_node_relays_up").set(f64::from(u8::from(node.teller.is_up())));
        counter!("headland_node_dispatch_left_total").increment(node.dispatch.shared().left());
        counter!("headland_node_dispatch_lost_total").increment(node.dispatch.shared().lost());
    });
    let mut text = recorder.handle().render();
    durations(&mut text, node);
    text
}

fn durations(text: &mut String, node: &Node) {
    let name = "headland_node_request_seconds";
    let _ = writeln!(text, "# TYPE {name} histogram");
    for ((method, route), times) in node.counters.times() {
        let labels = format!("method=\"{method}\",route=\"{route}\"");
        let mut count = 0;
        for (bound_us, bucket) in BUCKETS_US.into_iter().zip(times.buckets) {
            count += bucket;
            let seconds = bound_us as f64 / 1e6;
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{seconds}\"}} {count}");
        }
        count += times.buckets[BUCKETS_US.len()];
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum{{{labels}}} {}", times.sum_us as f64 / 1e6);
        let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
    }
}
