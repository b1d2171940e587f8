//! The configuration files of `up`: embedded defaults for development.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Addresses, Made, Place};

/// Writes the three files; with the client library's file there is a chat page.
pub(super) fn write(
    place: &Place,
    addresses: &Addresses,
    made: &Made,
    library: Option<&Path>,
    origins: &[String],
) -> Result<()> {
    let file = |name: &str| place.file(name).display().to_string();
    let socket = file("relay.sock");
    let relay = format!(
        r#"# Made by `cargo xtask up`.
[link]
path = "{socket}"

[http]
address = "{metrics}"

[http_api]
key = "{secret}"

[node]
addresses = ["http://{node}"]
key = "{secret}"
subscribe_on_connect = true

[client]
allow_anonymous_connect_without_token = true

[client.token]
hmac_secret_key = "{secret}"
jwks_public_endpoint = "http://{node}/.well-known/jwks.json"

[[tls.certificates]]
certificate = "{certificate}"
key = "{key}"

{NODE_CHANNELS}{CHANNELS}"#,
        secret = made.secret,
        metrics = addresses.metrics,
        node = addresses.node,
        certificate = file("server.pem"),
        key = file("server-key.pem"),
    );
    let mut gateway = format!("# Made by `cargo xtask up`.\n[link]\npath = \"{socket}\"\n");
    let page = library.map_or_else(Vec::new, |_| {
        vec![format!("http://{}", addresses.node), format!("http://localhost:{}", addresses.node.port())]
    });
    let allowed: Vec<String> = page.iter().chain(origins).map(|origin| format!("{origin:?}")).collect();
    gateway.push_str(&format!("\n[websocket]\nallowed_origins = [{}]\n", allowed.join(", ")));
    let secure = addresses.secure.iter().map(|address| (address, true));
    let plain = addresses.plain.iter().map(|address| (address, false));
    for (address, tls) in secure.chain(plain) {
        gateway.push_str(&format!("\n[[listeners]]\naddress = \"{address}\"\ntls = {tls}\n"));
    }
    let node = node(place, addresses, made, library);
    for (name, text) in [("node.toml", node), ("relay.toml", relay), ("gateway.toml", gateway)] {
        fs::write(place.file(name), text)
            .with_context(|| format!("writing {}", place.file(name).display()))?;
    }
    Ok(())
}

fn node(place: &Place, addresses: &Addresses, made: &Made, library: Option<&Path>) -> String {
    let demo = library.map_or_else(String::new, |library| {
        format!("\n[demo]\nurl = \"{}\"\nlibrary = \"{}\"\n", addresses.url(), library.display())
    });
    format!(
        r#"# Made by `cargo xtask up`.
registration = "open"

[http]
address = "{node}"

[store]
folder = "{folder}"

[relays]
addresses = ["{metrics}"]
api_key = "{secret}"
key = "{secret}"
{demo}"#,
        node = addresses.node,
        folder = place.file("store").display(),
        metrics = addresses.metrics,
        secret = made.secret,
    )
}

/// Those of the node are open to whom the node says.
const NODE_CHANNELS: &str = include_str!("../../../../relay/nodes/edge.toml");

/// Channels without a namespace are open to everybody; `room` keeps history and presence; `tick` keeps nothing.
const CHANNELS: &str = r#"
[channel.without_namespace]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true

[[channel.namespaces]]
name = "room"
history_size = 100
history_ttl = "10m"
force_recovery = true
presence = true
join_leave = true
force_push_join_leave = true
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_subscriber = true
allow_publish_for_anonymous = true
allow_history_for_subscriber = true
allow_history_for_anonymous = true
allow_presence_for_subscriber = true
allow_presence_for_anonymous = true

[[channel.namespaces]]
name = "tick"
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_subscriber = true
allow_publish_for_anonymous = true
"#;
