//! Options of a namespace: one list, used for named namespaces and for channels without one.

use std::time::Duration;

use wire::config_table;
use wire::pattern::{NotAPattern, Pattern};
use wire::settings;

use super::proxy::DEFAULT;
use super::word::{Deciding, DeltaType, Format, Mode, Storing};

/// Durations cross the link in milliseconds.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

macro_rules! namespace_table {
    ($(#[doc = $doc:literal])* $name:ident { $($first:tt)* }) => {
        config_table! {
            $(#[doc = $doc])*
            pub struct $name {
                $($first)*
                /// A regular expression that the name behind the namespace must match. Without one: printable ASCII.
                channel_regex: String = String::new(),
                /// Who stores messages: "transient" no node, "persist" a node before they are delivered, "fast" a node at about the same time.
                delivery: Storing = Storing::default(),
                /// Who decides what clients may do: "" is the options below, "node" a node.
                rights: Deciding = Deciding::default(),
                /// Channels may name who may subscribe: "dialog#42,43". Nobody else may, without a token.
                allow_user_limited_channels: bool = false,
                /// Publications kept for recovery and history. Needs history_ttl.
                history_size: u32 = 0,
                /// How long they are kept after the last one. Needs history_size.
                history_ttl: Duration = Duration::ZERO,
                /// How long offset and epoch outlive them. 0s: as channel.history_meta_ttl says.
                history_meta_ttl: Duration = Duration::ZERO,
                /// Every subscription recovers what it missed. Needs history.
                force_recovery: bool = false,
                /// Every subscription is told when it missed something. Needs history.
                force_positioning: bool = false,
                /// Clients may ask for recovery. Needs history.
                allow_recovery: bool = false,
                /// Clients may ask for positioning. Needs history.
                allow_positioning: bool = false,
                /// What recoveries give back: "stream" is all that was missed, "cache" the last publication.
                force_recovery_mode: Mode = Mode::default(),
                /// Every subscription recovers, whether it asks or not. Needs force_recovery and force_recovery_mode = "cache".
                auto_cache_recover: bool = false,
                /// Kinds of delta that subscribers may choose: ["fossil"] or none. They need recovery or positioning.
                allowed_delta_types: Vec<DeltaType> = Vec::new(),
                /// Send publications as deltas to those subscribers without being told so by the publisher.
                delta_publish: bool = false,
                /// Clients may subscribe with a filter over the tags of publications.
                allow_tags_filter: bool = false,
                /// Clients that offer it get a number in place of the channel's name in pushes.
                allow_channel_compaction: bool = false,
                /// What publications must be: "" is anything but nothing, "json", "json_object", "binary" is anything.
                publication_data_format: Format = Format::default(),
                /// Keep who is in the channel.
                presence: bool = false,
                /// Make join and leave events.
                join_leave: bool = false,
                /// Subscribers get join and leave events without asking. Needs join_leave.
                force_push_join_leave: bool = false,
                /// Clients may subscribe.
                allow_subscribe_for_client: bool = false,
                /// Anonymous ones too. Needs allow_subscribe_for_client.
                allow_subscribe_for_anonymous: bool = false,
                /// Clients may publish.
                allow_publish_for_client: bool = false,
                /// Subscribers may publish.
                allow_publish_for_subscriber: bool = false,
                /// Anonymous ones too. Needs allow_publish_for_client or allow_publish_for_subscriber.
                allow_publish_for_anonymous: bool = false,
                /// Clients may read history.
                allow_history_for_client: bool = false,
                /// Subscribers may read history.
                allow_history_for_subscriber: bool = false,
                /// Anonymous ones too. Needs allow_history_for_client or allow_history_for_subscriber.
                allow_history_for_anonymous: bool = false,
                /// Clients may read presence.
                allow_presence_for_client: bool = false,
                /// Subscribers may read presence.
                allow_presence_for_subscriber: bool = false,
                /// Anonymous ones too. Needs allow_presence_for_client or allow_presence_for_subscriber.
                allow_presence_for_anonymous: bool = false,
                /// A backend decides who may subscribe, tokens aside.
                subscribe_proxy_enabled: bool = false,
                /// Which: one of proxies by its name, or "default": that of channel.proxy.subscribe.
                subscribe_proxy_name: String = DEFAULT.to_owned(),
                /// A backend decides what clients publish, and may change it. The allow_publish options do not matter then.
                publish_proxy_enabled: bool = false,
                /// Which: one of proxies by its name, or "default": that of channel.proxy.publish.
                publish_proxy_name: String = DEFAULT.to_owned(),
                /// A backend decides whether a subscription whose time is over goes on.
                sub_refresh_proxy_enabled: bool = false,
                /// Which: one of proxies by its name, or "default": that of channel.proxy.sub_refresh.
                sub_refresh_proxy_name: String = DEFAULT.to_owned(),
            }
        }

        impl $name {
            /// The options as gateways get them, and what is wrong with the pattern.
            pub(super) fn options(
                &self,
                name: &str,
                meta_ttl: Duration,
            ) -> (settings::Namespace, Option<NotAPattern>) {
                let own = self.history_meta_ttl;
                let wanted = Some(self.channel_regex.as_str()).filter(|text| !text.is_empty());
                let pattern = wanted.map(Pattern::new).transpose();
                let wrong = pattern.as_ref().err().cloned();
                let options = settings::Namespace {
                    name: name.to_owned(),
                    channel_regex: pattern.unwrap_or_default(),
                    delivery: self.delivery.0,
                    allow_user_limited_channels: self.allow_user_limited_channels,
                    history_size: self.history_size,
                    history_ttl_ms: milliseconds(self.history_ttl),
                    history_meta_ttl_ms: milliseconds(if own.is_zero() { meta_ttl } else { own }),
                    force_recovery: self.force_recovery,
                    force_positioning: self.force_positioning,
                    allow_recovery: self.allow_recovery,
                    allow_positioning: self.allow_positioning,
                    force_recovery_mode: self.force_recovery_mode.0,
                    auto_cache_recover: self.auto_cache_recover,
                    allow_delta_fossil: !self.allowed_delta_types.is_empty(),
                    delta_publish: self.delta_publish,
                    allow_tags_filter: self.allow_tags_filter,
                    allow_channel_compaction: self.allow_channel_compaction,
                    publication_data_format: self.publication_data_format.0,
                    presence: self.presence,
                    join_leave: self.join_leave,
                    force_push_join_leave: self.force_push_join_leave,
                    allow_subscribe_for_client: self.allow_subscribe_for_client,
                    allow_subscribe_for_anonymous: self.allow_subscribe_for_anonymous,
                    allow_publish_for_client: self.allow_publish_for_client,
                    allow_publish_for_subscriber: self.allow_publish_for_subscriber,
                    allow_publish_for_anonymous: self.allow_publish_for_anonymous,
                    allow_history_for_client: self.allow_history_for_client,
                    allow_history_for_subscriber: self.allow_history_for_subscriber,
                    allow_history_for_anonymous: self.allow_history_for_anonymous,
                    allow_presence_for_client: self.allow_presence_for_client,
                    allow_presence_for_subscriber: self.allow_presence_for_subscriber,
                    allow_presence_for_anonymous: self.allow_presence_for_anonymous,
                    subscribe_proxy: self.subscribe_proxy_enabled,
                    publish_proxy: self.publish_proxy_enabled,
                    sub_refresh_proxy: self.sub_refresh_proxy_enabled,
                };
                (options, wrong)
            }

            /// The names of the backends it wants, in the order of [`ChannelProxies::EVENTS`](super::ChannelProxies::EVENTS).
            pub(super) fn proxies(&self) -> [Option<&str>; 3] {
                [
                    self.subscribe_proxy_enabled.then_some(self.subscribe_proxy_name.as_str()),
                    self.publish_proxy_enabled.then_some(self.publish_proxy_name.as_str()),
                    self.sub_refresh_proxy_enabled.then_some(self.sub_refresh_proxy_name.as_str()),
                ]
            }
        }
    };
}

namespace_table! {
    /// `[channel.without_namespace]`.
    WithoutNamespace {}
}

namespace_table! {
    /// `[[channel.namespaces]]`.
    Namespace {
        /// The part of a channel name before the first colon.
        name: String = String::new(),
    }
}
