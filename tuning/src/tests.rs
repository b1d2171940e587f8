//! The table against machines made of text files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A `/proc` in a folder of its own, with the values of a small cloud machine, removed when dropped.
struct World(PathBuf);

impl World {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("headland-tuning-{}-{name}", std::process::id()));
        let world = Self(root);
        world.set(
            "self/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   20000   files\n",
        );
        world.set("meminfo", "MemTotal:  24684000 kB\nMemAvailable:  23000000 kB\n");
        for (name, value) in [
            ("fs/nr_open", "1048576"),
            ("fs/file-max", "9223372036854775807"),
            ("net/core/somaxconn", "4096"),
            ("net/ipv4/tcp_max_syn_backlog", "1024"),
            ("net/ipv4/tcp_mem", "286734\t382312\t573468"),
            ("net/ipv4/tcp_max_orphans", "131072"),
            ("net/ipv4/ip_local_port_range", "32768\t60999"),
            ("net/ipv4/tcp_ehash_entries", "262144"),
        ] {
            world.set(&format!("sys/{name}"), &format!("{value}\n"));
        }
        world
    }

    fn set(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn short(&self, needs: &Needs) -> Vec<&'static str> {
        findings(&Host::at(&self.0), needs).iter().map(|finding| finding.0.name).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_small_edge_needs_nothing() {
    let world = World::new("small");
    assert_eq!(world.short(&Needs::edge(1_000, 1)), [""; 0]);
}

#[test]
fn a_million_in_one_table_is_stopped_by_descriptors_first() {
    let world = World::new("million");
    let short = world.short(&Needs::edge(1_000_000, 1));
    assert_eq!(short[0], "RLIMIT_NOFILE");
    assert!(short.contains(&"net.core.somaxconn"));
    assert!(!short.contains(&"net.ipv4.ip_local_port_range"), "an edge opens no connection");
}

#[test]
fn enough_tables_lift_the_descriptor_limit_and_the_finding_says_how_many() {
    let world = World::new("tables");
    let one = findings(&Host::at(&world.0), &Needs::edge(100_000, 1));
    assert!(one[0].to_string().contains("or 6 threads with a table each"), "{}", one[0]);
    assert!(!world.short(&Needs::edge(100_000, 6)).contains(&"RLIMIT_NOFILE"));
    assert!(world.short(&Needs::edge(100_000, 5)).contains(&"RLIMIT_NOFILE"));
    assert_eq!(tables_needed(100_000, 20_000), 6);
    assert_eq!(tables_needed(0, 0), 1);
}

#[test]
fn a_generator_needs_ports_and_more_sources_give_them() {
    let world = World::new("ports");
    let needs = |sources| Needs { connections: 30_000, tables: 2, side: Side::Generator { sources } };
    assert_eq!(world.short(&needs(1)), ["net.ipv4.ip_local_port_range"]);
    assert_eq!(world.short(&needs(3)), [""; 0]);
}

#[test]
fn both_ends_on_one_machine_count_twice() {
    let world = World::new("both");
    world.set("meminfo", "MemAvailable: 600000 kB\n");
    let side = Side::Both { sources: 20 };
    assert!(!world.short(&Needs::edge(100_000, 10)).contains(&"MemAvailable"));
    assert!(world.short(&Needs { connections: 100_000, tables: 10, side }).contains(&"MemAvailable"));
}

#[test]
fn connection_tracking_matters_only_where_it_tracks() {
    let world = World::new("conntrack");
    let needs = Needs::edge(200_000, 20);
    assert!(!world.short(&needs).contains(&"net.netfilter.nf_conntrack_max"));
    world.set("sys/net/netfilter/nf_conntrack_max", "262144\n");
    world.set("sys/net/netfilter/nf_conntrack_count", "0\n");
    assert!(!world.short(&needs).contains(&"net.netfilter.nf_conntrack_max"));
    world.set("sys/net/netfilter/nf_conntrack_count", "12\n");
    assert!(world.short(&needs).contains(&"net.netfilter.nf_conntrack_max"));
}

#[test]
fn a_limit_that_cannot_be_read_is_not_reported() {
    let world = World::new("unreadable");
    world.set("sys/net/core/somaxconn", "many\n");
    world.set("sys/net/ipv4/tcp_ehash_entries", "-262144\n");
    let short = world.short(&Needs::edge(1_000_000, 1));
    assert!(!short.contains(&"net.core.somaxconn") && !short.contains(&"net.ipv4.tcp_ehash_entries"));
}

#[test]
fn an_unlimited_hard_limit_is_enough() {
    let world = World::new("unlimited");
    world.set("self/limits", "Max open files   1024   unlimited   files\n");
    assert!(!world.short(&Needs::edge(1_000_000, 1)).contains(&"RLIMIT_NOFILE"));
}

#[test]
fn a_finding_reads_as_a_sentence_with_its_fix() {
    let world = World::new("sentence");
    let finding = findings(&Host::at(&world.0), &Needs::edge(100_000, 10)).remove(0);
    assert_eq!(
        finding.to_string(),
        "net.core.somaxconn is 4,096 and should be at least 65,535: it caps every listener's backlog, and a reconnect \
         storm overflows a short one. To fix it: sysctl -w net.core.somaxconn=\"65535\""
    );
}

#[test]
fn the_table_shows_every_limit_and_a_fix_only_where_short() {
    let world = World::new("table");
    let limits = limits(&Host::at(&world.0), &Needs::edge(30_000, 2));
    let text = table(&limits);
    assert!(text.lines().any(|line| line.starts_with("ok") && line.contains("RLIMIT_NOFILE")));
    assert!(text.lines().any(|line| line.starts_with("slows") && line.contains("somaxconn")));
    assert_eq!(text.matches("fix:").count(), limits.iter().filter(|limit| !limit.met()).count());
}

#[test]
fn this_machine_can_be_read() {
    let names: BTreeSet<_> =
        limits(&Host::default(), &Needs::edge(1, 1)).iter().map(|limit| limit.name).collect();
    assert!(names.contains("RLIMIT_NOFILE") && names.contains("MemAvailable"));
}

#[test]
fn sysctl_conf_at_the_root_is_what_the_table_renders() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sysctl.conf");
    let wanted = sysctl(&Needs::edge(CONNECTIONS_REFERENCE, 1));
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "write it anew: cargo run -p tuning -- sysctl > sysctl.conf");
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
}
