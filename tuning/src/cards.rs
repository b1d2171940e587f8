//! How packets of the network cards reach the cores: queues, interrupts, and receive packet steering.

use crate::limits::CARDS_MAX;
use crate::{Host, Limit, Needs, Reading, Want, Weight};

/// The limits of every card of an edge. A link that is no device (loopback, a bridge) has none.
pub(crate) fn limits(host: &Host, needs: &Needs) -> Vec<Limit> {
    let cores = host.cores();
    if !needs.large() || cores < 2 {
        return Vec::new();
    }
    let names = host.names("sys/class/net").into_iter().take(CARDS_MAX);
    names
        .filter_map(|name| Some((host.target(&format!("sys/class/net/{name}/device"))?, name)))
        .flat_map(|(device, name)| [steering(host, &name, cores), interrupts(host, &name, &device, cores)])
        .flatten()
        .collect()
}

/// With fewer receive queues than cores, packets are handed on to the other cores by the kernel, or not at all.
fn steering(host: &Host, name: &str, cores: u64) -> Option<Limit> {
    let queues = receive_queues(host, name);
    let reached = |queue: &String| steered(host, &format!("sys/class/net/{name}/queues/{queue}/rps_cpus"));
    let steered = queues.iter().filter_map(reached).max()?;
    let mask = (0..cores.min(32)).fold(0u32, |mask, core| mask | 1 << core);
    Some(Limit {
        name: format!("{name}: cores that receive"),
        present: Reading::Number(steered.max(queues.len() as u64)),
        needed: Want::AtLeast(cores),
        weight: Weight::Helps,
        why: "a card with fewer queues than cores leaves all packet work to a few of them",
        fix: format!(
            "ethtool -L {name} combined {cores}, or where the card has no more queues: \
             echo {mask:x} | tee /sys/class/net/{name}/queues/rx-*/rps_cpus"
        ),
    })
}

/// Cores that have taken interrupts of a card with several queues.
fn interrupts(host: &Host, name: &str, device: &str, cores: u64) -> Option<Limit> {
    let queues = receive_queues(host, name).len() as u64;
    let text = host.text("proc/interrupts")?;
    let columns = text.lines().next()?.split_whitespace().count();
    let mut sums = vec![0u64; columns];
    for line in text.lines().filter(|line| of_card(line, name, device)) {
        let counts = line.split_whitespace().skip(1).take(columns);
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count.parse().unwrap_or(0));
        }
    }
    let most = sums.iter().copied().max().filter(|&most| most > 0)?;
    // A core with less than a twentieth of the busiest one's does not take part.
    let busy = sums.iter().filter(|&&sum| sum.saturating_mul(20) >= most).count() as u64;
    (queues > 1).then(|| Limit {
        name: format!("{name}: cores that take interrupts"),
        present: Reading::Number(busy),
        needed: Want::AtLeast(queues.min(cores)),
        weight: Weight::Helps,
        why: "each queue's interrupts belong on a core of their own, beside the shard that is pinned there",
        fix: format!("stop irqbalance and write one core to each /proc/irq/N/smp_affinity_list of {name} (grep {name} /proc/interrupts)"),
    })
}

fn receive_queues(host: &Host, name: &str) -> Vec<String> {
    let mut queues = host.names(&format!("sys/class/net/{name}/queues"));
    queues.retain(|queue| queue.starts_with("rx-"));
    queues
}

/// The cores in a mask such as `00000000,0000000f`.
fn steered(host: &Host, path: &str) -> Option<u64> {
    let mask = host.text(path)?;
    Some(mask.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| u64::from(digit.count_ones())).sum())
}

/// Whether a line of `/proc/interrupts` is about a card: its last word is `eth0-rx-1`, `virtio2-input.0` or the like.
fn of_card(line: &str, name: &str, device: &str) -> bool {
    let Some(last) = line.split_whitespace().last() else { return false };
    let named = |prefix: &str| {
        last.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    !last.ends_with("config") && (named(name) || named(device))
}
