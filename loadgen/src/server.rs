//! The measured server as its operating system sees it: CPU time and memory of given processes on this machine.

use std::time::Duration;

/// Processes whose cost is measured; none when the server is elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Server {
    pids: Vec<u32>,
}

/// What the processes have used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// In user and kernel mode, all of them together.
    pub cpu: Duration,
    /// Memory that only they have; `None` when this user may not look.
    pub private_bytes: Option<u64>,
}

impl Server {
    /// Checks that each process is there.
    pub fn new(pids: Vec<u32>) -> Result<Self, String> {
        for &pid in &pids {
            sys::process_cpu(Some(pid)).map_err(|error| format!("--server-pid {pid}: {error}"))?;
        }
        Ok(Self { pids })
    }

    /// `None` without processes, or when one of them is gone.
    pub fn usage(&self) -> Option<Usage> {
        if self.pids.is_empty() {
            return None;
        }
        let mut cpu = Duration::ZERO;
        let mut private = Some(0);
        for &pid in &self.pids {
            cpu += sys::process_cpu(Some(pid)).ok()?;
            private = private.zip(sys::private_bytes(pid).ok()).map(|(sum, bytes)| sum + bytes);
        }
        Some(Usage { cpu, private_bytes: private })
    }

    /// CPU time alone; cheap enough to be read at the edges of a measurement.
    pub fn cpu(&self) -> Option<Duration> {
        if self.pids.is_empty() {
            return None;
        }
        self.pids.iter().try_fold(Duration::ZERO, |sum, &pid| Some(sum + sys::process_cpu(Some(pid)).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_process_is_read_and_a_missing_one_refused() {
        let server = Server::new(vec![std::process::id()]).unwrap();
        let usage = server.usage().unwrap();
        assert!(usage.private_bytes.unwrap() > 0);
        assert!(server.cpu().unwrap() >= usage.cpu);
        assert!(Server::new(vec![4_000_000]).unwrap_err().contains("--server-pid 4000000"));
        assert!(Server::default().usage().is_none() && Server::default().cpu().is_none());
    }
}
