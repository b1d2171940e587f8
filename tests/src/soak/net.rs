//! Links that can be cut: a network namespace for an edge's relay, joined to the machine by a veth pair, with packets dropped on order.
//! Needs root and nftables; owns only what it made itself.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// The machine's ends are 10.96.N.1, the namespaces' 10.96.N.2.
const PREFIX: [u8; 2] = [10, 96];
/// How many there can be at once on a machine.
const NETS_MAX: u32 = 250;

/// One namespace. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Net {
    name: String,
    number: u8,
}

impl Net {
    /// Makes one that no other process has.
    pub(super) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let start = std::process::id() % NETS_MAX;
        for _ in 0..NETS_MAX {
            let number = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % NETS_MAX;
            // Fits: below 250.
            let net = Self { name: format!("headland-{number}"), number: number as u8 };
            if ip(&["netns", "add", &net.name]).is_ok() {
                net.join()?;
                return Ok(net);
            }
            // Somebody else's: not ours to remove.
            std::mem::forget(net);
        }
        bail!("no free network namespace: are you root? `ip netns list` shows those that are left over")
    }

    fn join(&self) -> Result<()> {
        let (outer, inner) = (self.outer(), format!("hl{}i", self.number));
        let address = |host: u8| format!("{}/30", self.host(host));
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &self.name])?;
        ip(&["address", "add", &address(1), "dev", &outer])?;
        ip(&["link", "set", &outer, "up"])?;
        ip(&["-n", &self.name, "address", "add", &address(2), "dev", &inner])?;
        ip(&["-n", &self.name, "link", "set", &inner, "up"])?;
        ip(&["-n", &self.name, "link", "set", "lo", "up"])?;
        ip(&["-n", &self.name, "route", "add", "default", "via", &self.host(1).to_string()])?;
        // Edges reach each other through the machine; the setting goes with the interface.
        let forwarding = format!("/proc/sys/net/ipv4/conf/{outer}/forwarding");
        fs::write(&forwarding, "1").with_context(|| forwarding.clone())?;
        self.nft("add table inet soak")?;
        self.nft("add chain inet soak input { type filter hook input priority 0; }")
    }

    /// Its name, for `ip netns exec`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The machine as seen from inside.
    pub(super) fn machine(&self) -> IpAddr {
        self.host(1).into()
    }

    /// The inside as seen from the machine.
    pub(super) fn inside(&self) -> IpAddr {
        self.host(2).into()
    }

    /// Drops this many of a hundred packets that come in, or none.
    pub(super) fn drop_packets(&self, of_a_hundred: u32) -> Result<()> {
        self.nft("flush chain inet soak input")?;
        if of_a_hundred == 0 {
            return Ok(());
        }
        let which = if of_a_hundred < 100 {
            format!("numgen random mod 100 < {of_a_hundred} ")
        } else {
            String::new()
        };
        self.nft(&format!("add rule inet soak input {which}drop"))
    }

    const fn host(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(PREFIX[0], PREFIX[1], self.number, host)
    }

    fn outer(&self) -> String {
        format!("hl{}o", self.number)
    }

    fn nft(&self, rule: &str) -> Result<()> {
        run(Command::new("ip").args(["netns", "exec", &self.name, "nft", rule]))
            .context("is nftables installed? apt-get install nftables")
    }
}

impl Drop for Net {
    /// The veth pair goes with the namespace.
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words)).context("is iproute2 installed? apt-get install iproute2")
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
