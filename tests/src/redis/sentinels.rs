//! A primary, a replica, and three sentinels that watch them.

use anyhow::Result;

use super::Server;

/// The primary's name among sentinels.
const NAME: &str = "headland";
/// Sentinels here call a server dead after this long.
const DOWN_AFTER_MS: u32 = 1000;

/// Five processes.
#[derive(Debug)]
pub struct Sentinels {
    /// The primary, until the sentinels make the other one it.
    pub primary: Server,
    /// Its replica.
    pub replica: Server,
    /// The three.
    pub sentinels: Vec<Server>,
}

impl Sentinels {
    /// Starts all and waits until they know each other.
    pub fn start() -> Result<Self> {
        let primary = Server::start()?;
        let replica = Server::with(&format!("replicaof 127.0.0.1 {}\n", primary.port()))?;
        replica.until(&["info", "replication"], |text| text.contains("master_link_status:up"))?;
        let watch = format!(
            "sentinel monitor {NAME} 127.0.0.1 {} 2\nsentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} 5000\nsentinel parallel-syncs {NAME} 1\n",
            primary.port()
        );
        let sentinels: Vec<Server> =
            (0..3).map(|_| Server::launch(&watch, &[], true)).collect::<Result<_>>()?;
        for sentinel in &sentinels {
            sentinel.until(&["sentinel", "ckquorum", NAME], |text| text.starts_with("OK 3"))?;
            sentinel.until(&["sentinel", "replicas", NAME], |text| text.contains(&replica.address()))?;
        }
        Ok(Self { primary, replica, sentinels })
    }

    /// The primary's name among them.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Where the three answer.
    pub fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// Waits until the sentinels say that this server is the primary.
    pub fn until_primary(&self, port: u16) -> Result<()> {
        for sentinel in &self.sentinels {
            let wanted = port.to_string();
            sentinel.until(&["sentinel", "get-master-addr-by-name", NAME], |text| text.ends_with(&wanted))?;
        }
        Ok(())
    }
}
