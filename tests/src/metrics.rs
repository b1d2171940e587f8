//! Reading the relay's Prometheus text.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// Connections now, by `state`.
pub const CONNECTIONS: &str = "headland_gateway_connections";
/// Authenticated sessions now, by `transport` and `encoding`.
pub const SESSIONS: &str = "headland_gateway_sessions";
/// Commands received, by the same.
pub const COMMANDS: &str = "headland_gateway_commands_total";
/// Publications and other pushes handed to connections, by the same.
pub const DELIVERIES: &str = "headland_gateway_deliveries_total";
/// Closes sent, by `code`.
pub const CLOSES: &str = "headland_gateway_closes_total";
/// Connections refused at the door, by `cause`.
pub const REFUSED: &str = "headland_gateway_refused_total";
/// TLS handshakes that resumed a session.
pub const RESUMED: &str = "headland_gateway_handshakes_resumed_total";
/// Bytes that clients have not taken yet.
pub const BACKLOG: &str = "headland_gateway_backlog_bytes";

/// Shards whose link to the relay is up.
pub const LINKS: &str = "headland_relay_shard_links";

/// Clients in presence, or whose coming and going is told.
pub const MEMBERS: &str = "headland_relay_presence_members";

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Scrapes `/metrics`.
    pub fn scrape(address: SocketAddr) -> Result<Self> {
        let (status, body) = get(address, "/metrics")?;
        anyhow::ensure!(status == 200, "/metrics answered {status}");
        Ok(Self(body))
    }

    /// The sum of all samples of a metric whose labels contain every text of `labels` (such as `code="3008"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let samples = self.0.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let found =
                series.split('{').next()? == name && labels.iter().all(|label| series.contains(label));
            found.then(|| value.parse::<f64>().ok())?
        });
        samples.sum()
    }

    /// Everything.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Of the answer.
    pub status: u16,
    /// Whole.
    pub body: String,
}

/// A plain GET; status and body.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let Answered { status, body } =
        request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))?;
    Ok((status, body))
}

/// A plain POST with further fields.
pub fn post(address: SocketAddr, path: &str, fields: &[(&str, &str)], body: &str) -> Result<Answered> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}");
    request(address, &format!("{head}Content-Length: {length}\r\n\r\n{body}"))
}

fn request(address: SocketAddr, text: &str) -> Result<Answered> {
    let mut stream =
        TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(|| address.to_string())?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    // Who refuses a body early may not read all of it: the answer is what counts.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (Some(status), Some((head, body))) = (status, answer.split_once("\r\n\r\n")) else {
        read?;
        anyhow::bail!("not an HTTP answer: {answer}");
    };
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunk(body) } else { body.to_owned() };
    Ok(Answered { status, body })
}

fn dechunk(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        text.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_matching_labels() {
        let text = "# HELP closes x\ncloses{code=\"3008\",shard=\"0\"} 2\ncloses{code=\"3008\",shard=\"1\"} 3\ncloses{code=\"1000\"} 9\n";
        let metrics = Metrics(text.to_owned());
        assert_eq!(metrics.sum("closes", &["code=\"3008\""]), 5.0);
        assert_eq!(metrics.sum("closes", &[]), 14.0);
        assert_eq!(metrics.sum("close", &[]), 0.0);
    }
}
