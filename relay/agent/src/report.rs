//! The metrics page: the gateway's shards, then the relay itself, in Prometheus text.
//!
//! Each scrape renders a recorder of its own, so what is gone is not reported for ever.

use std::collections::BTreeMap;
use std::fmt::Write;

use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use wire::stats::{ShardStats, TRANSPORTS, TURN_BUCKETS_US, TransportStats};

use crate::counters::SIGN_BUCKETS_US;
use crate::proxy::BUCKETS_US as PROXY_BUCKETS_US;
use crate::state::{Link, Relay};

/// Causes in the order of [`ShardStats::refused`].
const REFUSALS: [&str; 8] =
    ["total", "source", "handshakes", "descriptors", "denied", "rate", "source_rate", "busy"];
/// Causes in the order of [`ShardStats::handshake_failures`].
const HANDSHAKE_FAILURES: [&str; 5] = ["peer", "parameters", "signer", "deadline", "left"];
/// Causes in the order of [`crate::signer::Refusal`].
const SIGN_REFUSALS: [&str; 4] = ["key", "scheme", "shape", "failed"];

pub(crate) fn metrics(relay: &Relay) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let links = relay.links();
    metrics::with_local_recorder(&recorder, || {
        for link in &links {
            if let Some(stats) = &link.stats {
                shard(&link.shard.to_string(), stats);
                transports(&link.shard.to_string(), stats);
            }
        }
        gateways(&links);
        bus(relay);
        program(relay, &links);
        backends(relay);
        nodes(relay);
    });
    let mut text = recorder.handle().render();
    let shards: Vec<_> = links.iter().filter_map(|link| Some((link.shard, link.stats.as_deref()?))).collect();
    turns(&mut text, &shards);
    signatures(&mut text, relay);
    backend_times(&mut text, relay);
    text
}

fn shard(shard: &str, stats: &ShardStats) {
    let label = || shard.to_owned();
    let states = [
        ("handshaking", stats.handshaking),
        ("upgrading", stats.upgrading),
        ("connecting", stats.connecting),
        ("established", stats.established),
        ("closing", stats.closing),
    ];
    for (state, count) in states {
        gauge!("headland_gateway_connections", "shard" => label(), "state" => state).increment(count as f64);
    }
    for (cause, count) in REFUSALS.into_iter().zip(stats.refused) {
        counter!("headland_gateway_refused_total", "shard" => label(), "cause" => cause).increment(count);
    }
    for (cause, count) in HANDSHAKE_FAILURES.into_iter().zip(stats.handshake_failures) {
        counter!("headland_gateway_handshake_failures_total", "shard" => label(), "cause" => cause)
            .increment(count);
    }
    for (code, count) in &stats.closes {
        counter!("headland_gateway_closes_total", "shard" => label(), "code" => code.to_string())
            .increment(*count);
    }
    for (code, count) in &stats.errors {
        counter!("headland_gateway_errors_total", "shard" => label(), "code" => code.to_string())
            .increment(*count);
    }
    macro_rules! counters {
        ($($name:literal = $value:expr;)*) => {$(
            counter!($name, "shard" => label()).increment($value);
        )*};
    }
    counters! {
        "headland_gateway_accepted_total" = stats.accepted;
        "headland_gateway_handshakes_total" = stats.handshakes;
        "headland_gateway_handshakes_resumed_total" = stats.handshakes_resumed;
        "headland_gateway_upgrade_failures_total" = stats.upgrade_failures;
        "headland_gateway_publications_total" = stats.publications;
        "headland_gateway_sends_total" = stats.sends;
        "headland_gateway_received_bytes_total" = stats.bytes_in;
        "headland_gateway_sent_bytes_total" = stats.bytes_out;
    }
    macro_rules! gauges {
        ($($name:literal = $value:expr;)*) => {$(
            gauge!($name, "shard" => label()).increment($value as f64);
        )*};
    }
    gauges! {
        "headland_gateway_subscriptions" = stats.subscriptions;
        "headland_gateway_channels" = stats.channels;
        "headland_gateway_backlog_bytes" = stats.backlog_bytes;
        "headland_gateway_fanout_bytes" = stats.fanout_bytes;
    }
}

/// By transport and encoding, of those that have been used.
fn transports(shard: &str, stats: &ShardStats) {
    for ((transport, encoding), counted) in TRANSPORTS.into_iter().zip(stats.transports) {
        if counted == TransportStats::default() {
            continue;
        }
        let labels = || {
            [
                ("shard", shard.to_owned()),
                ("transport", transport.to_owned()),
                ("encoding", encoding.to_owned()),
            ]
        };
        gauge!("headland_gateway_sessions", &labels()).increment(counted.sessions as f64);
        counter!("headland_gateway_sessions_total", &labels()).increment(counted.opened);
        counter!("headland_gateway_commands_total", &labels()).increment(counted.commands);
        counter!("headland_gateway_deliveries_total", &labels()).increment(counted.deliveries);
    }
}

/// What is of a whole gateway process: each of its shards reports the same memory and CPU.
fn gateways(links: &[Link]) {
    let mut gateways: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
    for link in links {
        let Some(stats) = &link.stats else { continue };
        let (connections, bytes, cpu) = gateways.entry(link.gateway).or_default();
        *connections +=
            stats.handshaking + stats.upgrading + stats.connecting + stats.established + stats.closing;
        *bytes = stats.process_private_bytes.max(*bytes);
        *cpu = stats.process_cpu_us.max(*cpu);
    }
    for (gateway, (connections, bytes, cpu)) in gateways {
        let label = || format!("{gateway:016x}");
        gauge!("headland_gateway_private_bytes", "gateway" => label()).set(bytes as f64);
        gauge!("headland_gateway_cpu_seconds", "gateway" => label()).set(cpu as f64 / 1e6);
        if connections > 0 {
            let each = bytes as f64 / connections as f64;
            gauge!("headland_gateway_bytes_per_connection", "gateway" => label()).set(each);
        }
    }
}

fn bus(relay: &Relay) {
    let (counters, levels) = relay.bus();
    let totals = [
        ("headland_relay_publications_total", counters.publications),
        ("headland_relay_duplicates_total", counters.duplicates),
        ("headland_relay_deliveries_total", counters.deliveries),
        ("headland_relay_lost_total", counters.lost),
        ("headland_relay_lost_events_total", counters.lost_events),
        ("headland_relay_gaps_total", counters.gaps),
        ("headland_relay_repairs_total", counters.repairs),
        ("headland_relay_insufficient_total", counters.insufficient),
        ("headland_relay_recovered_total", counters.recovered),
        ("headland_relay_unrecovered_total", counters.unrecovered),
        ("headland_relay_joins_total", counters.joins),
        ("headland_relay_leaves_total", counters.leaves),
        ("headland_relay_members_refused_total", counters.members_refused),
        ("headland_relay_sessions_refused_total", counters.sessions_refused),
        ("headland_relay_sessions_replaced_total", counters.sessions_replaced),
        ("headland_relay_history_evicted_total", counters.history_evicted),
        ("headland_relay_streams_forgotten_total", counters.streams_forgotten),
        ("headland_relay_channels_refused_total", counters.channels_refused),
        ("headland_relay_links_overflowed_total", counters.links_overflowed),
        ("headland_relay_bus_publications_total", counters.bus_publications),
        ("headland_relay_bus_gaps_total", counters.bus_gaps),
        ("headland_relay_bus_repaired_total", counters.bus_repaired),
        ("headland_relay_bus_reads_total", counters.bus_reads),
        ("headland_relay_bus_failures_total", counters.bus_failures),
        ("headland_relay_bus_queries_shared_total", counters.queries_shared),
        ("headland_relay_bus_forks_total", counters.forks),
        ("headland_relay_bus_waited_in_vain_total", counters.waited_in_vain),
        ("headland_relay_words_unheard_total", counters.words_unheard),
        ("headland_relay_words_lost_total", counters.words_lost),
    ];
    for (name, value) in totals {
        counter!(name).absolute(value);
    }
    let now = [
        ("headland_relay_shard_links", levels.links),
        ("headland_relay_channels", levels.channels),
        ("headland_relay_history_publications", levels.history_publications),
        ("headland_relay_history_bytes", levels.history_bytes),
        ("headland_relay_idempotency_keys", levels.results),
        ("headland_relay_presence_members", levels.members),
        ("headland_relay_presence_bytes", levels.presence_bytes),
        ("headland_relay_counted_sessions", levels.sessions),
        ("headland_relay_bus_questions", levels.questions),
        ("headland_relay_queued_bytes", levels.queued_bytes),
        ("headland_relay_gapped_channels", levels.gapped),
    ];
    for (name, value) in now {
        gauge!(name).set(value as f64);
    }
    relay.measure_bus();
    for link in relay.bus_links() {
        gauge!("headland_relay_bus_link_up", "name" => link.name).set(f64::from(u8::from(link.up)));
    }
}

fn program(relay: &Relay, links: &[Link]) {
    let totals = relay.counters.totals();
    counter!("headland_relay_tokens_total", "outcome" => "genuine").absolute(totals.verified);
    counter!("headland_relay_tokens_total", "outcome" => "refused").absolute(totals.tokens_refused);
    let [failed, good] = totals.fetches;
    counter!("headland_relay_key_fetches_total", "outcome" => "good").absolute(good);
    counter!("headland_relay_key_fetches_total", "outcome" => "failed").absolute(failed);
    counter!("headland_relay_links_refused_total").absolute(totals.links_refused);
    for (cause, count) in SIGN_REFUSALS.into_iter().zip(totals.sign_refusals) {
        counter!("headland_relay_signatures_refused_total", "cause" => cause).absolute(count);
    }
    for (method, result, count) in relay.api.requests() {
        counter!("headland_relay_api_requests_total", "method" => method, "result" => result).absolute(count);
    }
    for (cause, count) in relay.api.refused() {
        counter!("headland_relay_api_refused_total", "cause" => cause).absolute(count);
    }
    gauge!("headland_relay_keys").set(relay.keys() as f64);
    gauge!("headland_relay_uptime_seconds").set(relay.uptime().as_secs_f64());
    let uptime = relay.uptime();
    for link in links {
        let (gateway, shard) = (format!("{:016x}", link.gateway), link.shard.to_string());
        let seconds = uptime.saturating_sub(link.since).as_secs_f64();
        gauge!("headland_relay_link_up_seconds", "gateway" => gateway, "shard" => shard).set(seconds);
    }
}

/// What became of what backends were asked.
fn backends(relay: &Relay) {
    for endpoint in relay.proxies().all() {
        let name = || endpoint.name().to_owned();
        let results = endpoint.results();
        for (outcome, count) in results.ends {
            counter!("headland_relay_proxy_calls_total", "proxy" => name(), "outcome" => outcome)
                .increment(count);
        }
        counter!("headland_relay_proxy_retries_total", "proxy" => name()).increment(results.retries);
        gauge!("headland_relay_proxy_calls", "proxy" => name()).set(endpoint.under_way() as f64);
        let left_alone = endpoint.standing() != relay::Standing::Closed;
        gauge!("headland_relay_proxy_open", "proxy" => name()).set(f64::from(u8::from(left_alone)));
    }
}

/// What became of what nodes were asked.
fn nodes(relay: &Relay) {
    let Some(node) = relay.node() else { return };
    for (word, ends) in node.pool().ends() {
        for (outcome, count) in ends {
            counter!("headland_relay_node_calls_total", "word" => word, "outcome" => outcome).absolute(count);
        }
    }
    counter!("headland_relay_node_retries_total").absolute(node.pool().retries());
    gauge!("headland_relay_node_calls").set(node.under_way() as f64);
    gauge!("headland_relay_node_rights").set(node.remembered() as f64);
    let left_alone =
        node.pool().places().filter(|(_, standing)| *standing != relay::Standing::Closed).count();
    gauge!("headland_relay_nodes_open").set(left_alone as f64);
}

/// How long they took.
fn backend_times(text: &mut String, relay: &Relay) {
    let proxies = relay.proxies();
    let mut all = proxies.all().peekable();
    if all.peek().is_some() {
        text.push_str("# TYPE headland_relay_proxy_seconds histogram\n");
    }
    for endpoint in all {
        let (results, labels) = (endpoint.results(), format!("proxy=\"{}\"", endpoint.name()));
        let name = "headland_relay_proxy_seconds";
        histogram(text, name, &labels, &PROXY_BUCKETS_US, &results.buckets, results.us);
    }
}

/// Durations of the shards' turns. The buckets come counted, which the recorder's own histograms cannot take.
fn turns(text: &mut String, shards: &[(u16, &ShardStats)]) {
    let mut by_shard: BTreeMap<u16, ([u64; TURN_BUCKETS_US.len() + 1], u64)> = BTreeMap::new();
    for (shard, stats) in shards {
        let (buckets, sum) = by_shard.entry(*shard).or_default();
        buckets.iter_mut().zip(stats.turns).for_each(|(bucket, count)| *bucket += count);
        *sum += stats.turn_us;
    }
    if by_shard.is_empty() {
        return;
    }
    text.push_str("# TYPE headland_gateway_turn_seconds histogram\n");
    for (shard, (buckets, sum)) in by_shard {
        let labels = format!("shard=\"{shard}\"");
        histogram(text, "headland_gateway_turn_seconds", &labels, &TURN_BUCKETS_US, &buckets, sum);
    }
    text.push('\n');
}

fn signatures(text: &mut String, relay: &Relay) {
    let totals = relay.counters.totals();
    text.push_str("# TYPE headland_relay_signature_seconds histogram\n");
    let (buckets, sum) = (&totals.sign_buckets, totals.sign_us);
    histogram(text, "headland_relay_signature_seconds", "", &SIGN_BUCKETS_US, buckets, sum);
}

/// One histogram of Prometheus text: cumulative buckets, sum and count. `counts` has one more entry than `bounds_us`.
fn histogram(text: &mut String, name: &str, labels: &str, bounds_us: &[u64], counts: &[u64], sum_us: u64) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut total = 0;
    for (index, count) in counts.iter().enumerate() {
        total += count;
        let bound =
            bounds_us.get(index).map_or_else(|| "+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
    }
    let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "{name}_sum{braces} {}", sum_us as f64 / 1e6);
    let _ = writeln!(text, "{name}_count{braces} {total}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_ends_at_infinity() {
        let mut text = String::new();
        histogram(&mut text, "x_seconds", "shard=\"1\"", &[50, 1000], &[1, 2, 3], 5_000);
        assert_eq!(
            text,
            "x_seconds_bucket{shard=\"1\",le=\"0.00005\"} 1\n\
             x_seconds_bucket{shard=\"1\",le=\"0.001\"} 3\n\
             x_seconds_bucket{shard=\"1\",le=\"+Inf\"} 6\n\
             x_seconds_sum{shard=\"1\"} 0.005\n\
             x_seconds_count{shard=\"1\"} 6\n"
        );
    }
}
