//! The table against machines made of text files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A `/proc` and a `/sys` in a folder of their own, with the values of a small cloud machine, removed when dropped.
struct World(PathBuf);

impl World {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("headland-tuning-{}-{name}", std::process::id()));
        let world = Self(root);
        world.set(
            "proc/self/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   20000   files\n",
        );
        world.set("proc/meminfo", "MemTotal:  24684000 kB\nMemAvailable:  23000000 kB\n");
        for (name, value) in [
            ("fs/nr_open", "1048576"),
            ("fs/file-max", "9223372036854775807"),
            ("net/core/somaxconn", "4096"),
            ("net/ipv4/tcp_max_syn_backlog", "1024"),
            ("net/ipv4/tcp_mem", "286734\t382312\t573468"),
            ("net/ipv4/tcp_max_orphans", "131072"),
            ("net/ipv4/tcp_syncookies", "1"),
            ("net/ipv4/tcp_fin_timeout", "60"),
            ("net/core/netdev_max_backlog", "1000"),
            ("net/ipv4/ip_local_port_range", "32768\t60999"),
            ("net/ipv4/tcp_ehash_entries", "262144"),
        ] {
            world.set(&format!("proc/sys/{name}"), &format!("{value}\n"));
        }
        world
    }

    fn set(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Several files at once.
    fn set_all(&self, files: &[(&str, &str)]) {
        files.iter().for_each(|(path, text)| self.set(path, text));
    }

    fn host(&self) -> Host {
        Host::at(&self.0)
    }

    fn short(&self, needs: &Needs) -> Vec<String> {
        findings(&self.host(), needs).into_iter().map(|finding| finding.0.name).collect()
    }

    fn lacks(&self, needs: &Needs, name: &str) -> bool {
        self.short(needs).iter().any(|short| short == name)
    }

    fn find(&self, needs: &Needs, name: &str) -> Limit {
        limits(&self.host(), needs).into_iter().find(|limit| limit.name == name).unwrap()
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
    assert_eq!(world.short(&Needs::edge(1_000, 1)), [] as [&str; 0]);
}

#[test]
fn a_million_in_one_table_is_stopped_by_descriptors_first() {
    let world = World::new("million");
    let short = world.short(&Needs::edge(1_000_000, 1));
    assert_eq!(short[0], "RLIMIT_NOFILE");
    assert!(short.iter().any(|name| name == "net.core.somaxconn"));
    assert!(!short.iter().any(|name| name == "net.ipv4.ip_local_port_range"), "an edge opens no connection");
}

#[test]
fn enough_tables_lift_the_descriptor_limit_and_the_finding_says_how_many() {
    let world = World::new("tables");
    let one = findings(&world.host(), &Needs::edge(100_000, 1));
    assert!(one[0].to_string().contains("or 6 shards"), "{}", one[0]);
    assert!(!world.lacks(&Needs::edge(100_000, 6), "RLIMIT_NOFILE"));
    assert!(world.lacks(&Needs::edge(100_000, 5), "RLIMIT_NOFILE"));
    assert_eq!(tables_needed(100_000, 20_000), 6);
    assert_eq!(tables_needed(0, 0), 1);
}

#[test]
fn a_generator_needs_ports_and_more_sources_give_them() {
    let world = World::new("ports");
    world.set("proc/sys/net/core/netdev_max_backlog", "4000\n");
    let needs =
        |sources| Needs { connections: 30_000, rate: 0, tables: 2, side: Side::Generator { sources } };
    assert_eq!(world.short(&needs(1)), ["net.ipv4.ip_local_port_range"]);
    assert_eq!(world.short(&needs(3)), [] as [&str; 0]);
}

#[test]
fn both_ends_on_one_machine_count_twice() {
    let world = World::new("both");
    world.set("proc/meminfo", "MemAvailable: 600000 kB\n");
    let side = Side::Both { sources: 20 };
    assert!(!world.lacks(&Needs::edge(100_000, 10), "MemAvailable"));
    assert!(world.lacks(&Needs { connections: 100_000, rate: 0, tables: 10, side }, "MemAvailable"));
}

#[test]
fn connection_tracking_matters_only_where_it_tracks() {
    let world = World::new("conntrack");
    let needs = Needs::edge(200_000, 20);
    assert!(!world.lacks(&needs, "net.netfilter.nf_conntrack_max"));
    world.set("proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    world.set("proc/sys/net/netfilter/nf_conntrack_count", "0\n");
    assert!(!world.lacks(&needs, "net.netfilter.nf_conntrack_max"));
    world.set("proc/sys/net/netfilter/nf_conntrack_count", "12\n");
    assert!(world.lacks(&needs, "net.netfilter.nf_conntrack_max"));
}

#[test]
fn a_limit_that_cannot_be_read_is_not_reported() {
    let world = World::new("unreadable");
    world.set("proc/sys/net/core/somaxconn", "many\n");
    world.set("proc/sys/net/ipv4/tcp_ehash_entries", "-262144\n");
    let short = world.short(&Needs::edge(1_000_000, 1));
    assert!(
        !short.iter().any(|name| name == "net.core.somaxconn")
            && !short.iter().any(|name| name == "net.ipv4.tcp_ehash_entries")
    );
}

#[test]
fn an_unlimited_hard_limit_is_enough() {
    let world = World::new("unlimited");
    world.set("proc/self/limits", "Max open files   1024   unlimited   files\n");
    assert!(!world.lacks(&Needs::edge(1_000_000, 1), "RLIMIT_NOFILE"));
}

#[test]
fn a_finding_reads_as_a_sentence_with_its_fix() {
    let world = World::new("sentence");
    let finding = findings(&world.host(), &Needs::edge(100_000, 10)).remove(0);
    assert_eq!(
        finding.to_string(),
        "net.core.somaxconn is 4,096 and should be at least 65,535: it caps every listener's backlog, and a reconnect \
         storm overflows a short one. To fix it: sysctl -w net.core.somaxconn=\"65535\""
    );
}

#[test]
fn the_table_shows_every_limit_and_a_fix_only_where_it_is_not_met() {
    let world = World::new("table");
    let needs = Needs::edge(30_000, 2);
    let survey = survey(&world.host(), &needs).unwrap();
    let limits = &survey.limits;
    let text = text(&survey, &needs);
    assert!(text.lines().any(|line| line.starts_with("ok") && line.contains("RLIMIT_NOFILE")));
    assert!(text.lines().any(|line| line.starts_with("slows") && line.contains("somaxconn")));
    assert_eq!(text.matches("fix:").count(), limits.iter().filter(|limit| !limit.met()).count());
}

#[test]
fn a_rate_says_how_long_the_queues_of_a_listener_must_be() {
    let world = World::new("rate");
    let needs = |rate| Needs { rate, ..Needs::edge(100_000, 10) };
    assert!(!world.lacks(&needs(900), "net.core.somaxconn"));
    assert!(world.lacks(&needs(5_000), "net.core.somaxconn"));
    assert_eq!(world.find(&needs(5_000), "net.core.somaxconn").needed, Want::AtLeast(5_000));
    assert_eq!(world.find(&needs(0), "net.core.somaxconn").needed, Want::AtLeast(65_535));
    assert_eq!(world.find(&needs(1_000_000), "net.core.somaxconn").needed, Want::AtLeast(65_535));
}

#[test]
fn what_only_helps_is_shown_and_nothing_is_too_low_for_it() {
    let world = World::new("hints");
    let needs = Needs { rate: 500, ..Needs::edge(60_000, 10) };
    world.set("proc/sys/net/core/netdev_max_backlog", "4000");
    let survey = survey(&world.host(), &needs).unwrap();
    let hint = survey.limits.iter().find(|limit| limit.name == "net.ipv4.tcp_fin_timeout").unwrap();
    assert!(!hint.met() && !hint.short() && survey.fits());
    assert_eq!(hint.fix, "sysctl -w net.ipv4.tcp_fin_timeout=\"30\"");
    let text = text(&survey, &needs);
    assert!(text.contains("hint   net.ipv4.tcp_fin_timeout"), "{text}");
    assert!(text.ends_with("60,000 connections, 500 new per second: nothing is too low\n"), "{text}");
}

#[test]
fn a_control_group_may_have_less_than_the_machine() {
    let world = World::new("group");
    let needs = Needs::edge(200_000, 20);
    assert!(!world.lacks(&needs, "cgroup memory"));
    world.set_all(&[
        ("proc/self/cgroup", "0::/edge.slice/gateway.service\n"),
        ("sys/fs/cgroup/edge.slice/gateway.service/memory.max", "max\n"),
        ("sys/fs/cgroup/edge.slice/gateway.service/memory.current", "1000000\n"),
        ("sys/fs/cgroup/edge.slice/memory.max", "1073741824\n"),
        ("sys/fs/cgroup/edge.slice/memory.current", "900000000\n"),
        ("sys/fs/cgroup/edge.slice/memory.stat", "anon 1\ninactive_file 800000000\n"),
        ("sys/fs/cgroup/edge.slice/gateway.service/pids.max", "30\n"),
        ("sys/fs/cgroup/edge.slice/gateway.service/pids.current", "3\n"),
    ]);
    // The group above has a limit; what it holds of files is free to take.
    assert_eq!(world.find(&needs, "cgroup memory").present, Reading::Number(1_073_741_824 - 100_000_000));
    assert!(world.lacks(&needs, "cgroup memory") && !world.lacks(&Needs::edge(100_000, 2), "cgroup memory"));
    assert_eq!(world.find(&needs, "cgroup pids").present, Reading::Number(27));
    assert!(world.lacks(&needs, "cgroup pids") && !world.lacks(&Needs::edge(1_000, 2), "cgroup pids"));
}

#[test]
fn control_groups_of_the_first_version_count_too() {
    let world = World::new("first");
    let needs = Needs::edge(1_000, 1);
    world.set_all(&[
        ("proc/self/cgroup", "8:pids:/\n4:memory:/box\n0::/\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n"),
    ]);
    assert!(
        limits(&world.host(), &needs).iter().all(|limit| limit.name != "cgroup memory"),
        "there is no limit"
    );
    world.set("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "3000\n");
    world.set("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "1000\n");
    assert_eq!(world.find(&needs, "cgroup memory").present, Reading::Number(2_000));
}

#[test]
fn words_are_read_where_a_limit_is_a_choice() {
    let world = World::new("words");
    let needs = Needs::edge(1_000, 1);
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    world.set(path, "[always] madvise never\n");
    assert!(world.lacks(&needs, "transparent hugepages"));
    let finding = findings(&world.host(), &needs).remove(0).to_string();
    assert!(
        finding.starts_with("transparent hugepages is always and should be madvise or never: "),
        "{finding}"
    );
    world.set(path, "always [madvise] never\n");
    assert!(!world.lacks(&needs, "transparent hugepages"));
}

#[test]
fn a_card_with_fewer_queues_than_cores_should_be_steered() {
    let world = World::new("card");
    let needs = Needs::edge(100_000, 10);
    world.set_all(&[
        ("proc/self/status", "Name: x\nCpus_allowed_list:\t0-2,5\n"),
        ("sys/class/net/lo/queues/rx-0/rps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,00000000\n"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "00000000,00000000\n"),
        ("proc/interrupts", "   CPU0 CPU1 CPU2 CPU5\n 38: 90 1 0 0 PCI-MSI virtio2-input.0\n 39: 0 0 1 7 PCI virtio20-config\n"),
    ]);
    std::os::unix::fs::symlink("../../../virtio2", world.0.join("sys/class/net/eth0/device")).unwrap();
    let received = world.find(&needs, "eth0: cores that receive");
    assert_eq!((received.present.clone(), received.needed), (Reading::Number(2), Want::AtLeast(4)));
    assert!(
        received.fix.contains("echo f | tee /sys/class/net/eth0/queues/rx-*/rps_cpus"),
        "{}",
        received.fix
    );
    let interrupts = world.find(&needs, "eth0: cores that take interrupts");
    assert_eq!((interrupts.present, interrupts.needed), (Reading::Number(1), Want::AtLeast(2)));
    world.set("sys/class/net/eth0/queues/rx-0/rps_cpus", "00000000,0000000f\n");
    assert!(world.find(&needs, "eth0: cores that receive").met());
    assert!(limits(&world.host(), &needs).iter().all(|limit| !limit.name.starts_with("lo")));
}

#[test]
fn what_the_kernel_has_counted_is_told() {
    let world = World::new("signs");
    world.set(
        "proc/net/netstat",
        "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 5 1234\nIpExt: InNoRoutes\nIpExt: 7\n",
    );
    world.set("proc/net/softnet_stat", "06e70d65 00000228 0000000c\n06c2a33b 00000001 00000001\n");
    let found = signs(&world.host());
    let found: Vec<(&str, u64)> = found.iter().map(|sign| (sign.name, sign.count)).collect();
    assert_eq!(found, [("ListenOverflows", 1_234), ("softnet dropped", 0x229)]);
    assert_eq!(signs(&World::new("unsigned").host()), []);
}

#[test]
fn json_holds_what_the_table_says() {
    let world = World::new("json");
    world.set("proc/self/limits", "Max open files   1024   unlimited   files\n");
    let needs = Needs { rate: 2_000, ..Needs::edge(100_000, 10) };
    let survey = survey(&world.host(), &needs).unwrap();
    let value: serde_json::Value = serde_json::from_str(&json(&survey, &needs)).unwrap();
    assert_eq!((&value["connections"], &value["rate"]), (&100_000.into(), &2_000.into()));
    assert_eq!(value["fits"], survey.fits());
    let limits = value["limits"].as_array().unwrap();
    assert_eq!(limits.len(), survey.limits.len());
    let named = |name: &str| limits.iter().find(|limit| limit["name"] == name).unwrap();
    assert_eq!(named("RLIMIT_NOFILE")["present"], serde_json::Value::Null, "no limit");
    assert_eq!(named("net.core.somaxconn")["present"], 4_096);
    assert_eq!(named("net.core.somaxconn")["needed"]["at_least"], 2_000);
    assert_eq!(named("net.ipv4.tcp_max_syn_backlog")["verdict"], "slows");
}

#[test]
fn a_machine_that_shows_nothing_is_an_error() {
    let error = survey(&Host::at(Path::new("/nonexistent")), &Needs::edge(1, 1)).unwrap_err();
    assert!(error.to_string().contains("/proc/self/limits is missing"), "{error}");
}

#[test]
fn limits_that_this_kernel_lacks_are_named() {
    let world = World::new("absent");
    let absent = survey(&world.host(), &Needs::edge(1_000, 1)).unwrap().absent;
    assert!(
        absent.contains(&"fs.epoll.max_user_watches") && !absent.contains(&"cgroup memory"),
        "{absent:?}"
    );
    assert!(!absent.contains(&"net.ipv4.ip_local_port_range"), "it does not matter to an edge");
}

#[test]
fn this_machine_can_be_read() {
    let survey = survey(&Host::default(), &Needs::edge(1, 1)).unwrap();
    let names: BTreeSet<_> = survey.limits.iter().map(|limit| limit.name.as_str()).collect();
    assert!(names.contains("RLIMIT_NOFILE") && names.contains("MemAvailable"));
    assert!(Host::default().cores() >= 1);
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
