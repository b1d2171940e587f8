//! `[node]`: the nodes that store messages and know who is in which channel.

use std::path::PathBuf;
use std::time::Duration;

use wire::config::{Places, Problem};
use wire::config_table;
use wire::node::READ_MAX;
use wire::settings::{Delivery, Namespace};

use super::{Config, Secret};
use crate::limits::{NODE_ADDRESSES_MAX, NODE_WITHIN};
use crate::node::{Pool, Settings};

config_table! {
    /// `[node]`.
    pub struct Node {
        /// Where nodes are, on the private side: ["http://10.0.0.9:9200"]. Any of them will do; the next is asked where one does not answer.
        addresses: Vec<String> = Vec::new(),
        /// What relays show to nodes: the nodes' relays.key.
        key: Secret = Secret::default(),
        /// How long one of them may take, before another one is asked.
        timeout: Duration = Duration::from_secs(2),
        /// PEM file with the authorities that sign the nodes' certificates. Without it: those of the system.
        tls_root_ca_file: Option<PathBuf> = None,
        /// Subscribe connections with a token to all channels of their user, those with the latest messages first.
        subscribe_on_connect: bool = false,
        /// How long a right that a node gave is remembered. It is forgotten at once where a node says so.
        rights_max_age: Duration = Duration::from_secs(10),
        /// How often a node is asked whether a subscription may go on, for the case that its word got lost.
        rights_refresh: Duration = Duration::from_secs(300),
    }
}

/// Who decides what clients may do in a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rights {
    /// The namespace's options.
    #[default]
    Options,
    /// A node.
    Node,
}

impl Config {
    /// The nodes, where there are some.
    pub(super) fn nodes(&self, places: &Places, problems: &mut Vec<Problem>) -> Option<Settings> {
        let node = &self.node;
        let mut problem = |key: &str, text: &str| problems.push(places.problem(&format!("node.{key}"), text));
        if node.addresses.is_empty() {
            if node.subscribe_on_connect {
                problem("subscribe_on_connect", "needs addresses");
            }
            return None;
        }
        if node.addresses.len() > NODE_ADDRESSES_MAX {
            problem("addresses", &format!("are more than {NODE_ADDRESSES_MAX}"));
        }
        if node.key.is_empty() {
            problem("key", "is missing: nodes answer nobody without it");
        }
        if node.timeout < Duration::from_millis(10) || node.timeout > NODE_WITHIN {
            problem("timeout", &format!("must be between 10ms and {NODE_WITHIN:?}: clients wait for 5s"));
        }
        if node.rights_max_age.is_zero() || node.rights_max_age > Duration::from_secs(300) {
            problem("rights_max_age", "must be above 0s and at most 5m");
        }
        if node.rights_refresh < Duration::from_secs(10) {
            problem("rights_refresh", "is below 10s");
        }
        let ca = node.tls_root_ca_file.as_deref();
        let pool = Pool::new(&node.addresses, node.key.bytes(), node.timeout, ca);
        let pool = pool.map_err(|(key, text)| problem(key, &text)).ok()?;
        Some(Settings { pool, granted_for: node.rights_max_age, term: node.rights_refresh })
    }

    /// What a namespace whose messages nodes store, or whose rights they decide, is beside what it says.
    pub(super) fn by_node(
        &self,
        rights: Rights,
        options: &mut Namespace,
        path: &str,
        places: &Places,
        problems: &mut Vec<Problem>,
    ) {
        let stored = options.delivery != Delivery::Transient;
        let none = self.node.addresses.is_empty();
        for (key, wanted) in [("delivery", stored), ("rights", rights == Rights::Node)] {
            if wanted && none {
                problems.push(places.problem(&format!("{path}.{key}"), "needs node.addresses"));
            }
        }
        if rights == Rights::Node {
            let taken = [
                ("subscribe_proxy_enabled", options.subscribe_proxy),
                ("publish_proxy_enabled", options.publish_proxy),
                ("sub_refresh_proxy_enabled", options.sub_refresh_proxy),
            ];
            for (key, _) in taken.iter().filter(|(_, enabled)| *enabled) {
                problems.push(
                    places.problem(&format!("{path}.{key}"), "and rights = \"node\" exclude each other"),
                );
            }
            (options.subscribe_proxy, options.sub_refresh_proxy) = (true, true);
            // Whoever stores decides on publications by itself.
            (options.publish_proxy, options.allow_publish_for_client) = (!stored, stored);
            // Whoever is in a channel may read it.
            options.allow_history_for_subscriber = true;
        }
        if options.delivery == Delivery::Persist {
            let most = self.client.recovery_max_publication_limit;
            for (key, found) in [
                ("recovery_max_publication_limit", most),
                ("history_max_publication_limit", self.client.history_max_publication_limit),
            ] {
                if found as usize >= READ_MAX {
                    let text = format!("is {found}, and below {READ_MAX} where messages are stored by nodes");
                    problems.push(places.problem(&format!("client.{key}"), &text));
                }
            }
            // What an edge keeps of it is a copy; it has room for the longest recovery.
            options.history_size = options.history_size.max(most + 1);
            if options.history_ttl_ms == 0 {
                options.history_ttl_ms = MIRROR_TTL_MS;
            }
            (options.force_recovery, options.force_positioning) = (true, true);
        }
    }
}

/// How long an edge keeps its copy of a channel's last messages after the last one, where a namespace does not say.
const MIRROR_TTL_MS: u64 = 10 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::super::read;

    const NODE: &str = "[node]\naddresses = [\"http://127.0.0.1:9100\"]\nkey = \"k\"\n";

    fn refusal(text: &str) -> String {
        read("relay.toml", text, []).unwrap_err().to_string()
    }

    fn namespace(text: &str) -> String {
        format!("[[channel.namespaces]]\nname = \"chat\"\n{text}")
    }

    #[test]
    fn what_nodes_store_has_history_and_room_for_the_longest_recovery() {
        let text = NODE.to_owned() + &namespace("delivery = \"persist\"\nrights = \"node\"\n");
        let checked = read("relay.toml", &text, []).unwrap();
        let chat = checked.settings.namespace("chat:1").unwrap();
        assert!(chat.has_history() && chat.force_recovery && chat.force_positioning);
        assert!(chat.history_size > checked.settings.client.recovery_max_publication_limit);
        assert!(chat.subscribe_proxy && chat.sub_refresh_proxy && !chat.publish_proxy);
        assert!(chat.allow_publish_for_client && chat.allow_history_for_subscriber);
        let text = NODE.to_owned() + &namespace("rights = \"node\"\n");
        let checked = read("relay.toml", &text, []).unwrap();
        let live = checked.settings.namespace("chat:1").unwrap();
        assert!(!live.has_history() && live.publish_proxy && !live.allow_publish_for_client);
        assert!(checked.proxies.is_by_node("chat:1") && !checked.proxies.is_by_node("news"));
    }

    #[test]
    fn what_needs_nodes_says_so_where_there_are_none() {
        for (text, key) in [
            ("delivery = \"persist\"\n", "delivery"),
            ("delivery = \"fast\"\n", "delivery"),
            ("rights = \"node\"\n", "rights"),
        ] {
            let said = refusal(&namespace(text));
            assert!(said.contains(&format!("'{key}'")) && said.contains("needs node.addresses"), "{said}");
        }
        assert!(refusal("[node]\nsubscribe_on_connect = true\n").contains("needs addresses"));
    }

    #[test]
    fn what_is_wrong_about_nodes_is_said() {
        for (text, said) in [
            ("[node]\naddresses = [\"http://127.0.0.1:9100\"]\n", "nodes answer nobody without it"),
            ("[node]\naddresses = [\"127.0.0.1:9100\"]\nkey = \"k\"\n", "expected URLs"),
            (
                "[node]\naddresses = [\"http://a\"]\nkey = \"k\"\ntimeout = \"5s\"\n",
                "must be between 10ms and",
            ),
        ] {
            assert!(refusal(text).contains(said), "{}", refusal(text));
        }
        let both = NODE.to_owned() + &namespace("rights = \"node\"\nsubscribe_proxy_enabled = true\n");
        assert!(refusal(&both).contains("exclude each other"));
        let far = format!(
            "[client]\nrecovery_max_publication_limit = 5000\n{NODE}{}",
            namespace("delivery = \"persist\"\n")
        );
        assert!(refusal(&far).contains("below 1024"));
    }
}
