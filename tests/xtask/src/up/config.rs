//! The configuration files of `up`: embedded defaults for development.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Addresses, Place};

/// Writes both files; with the client library's file there is a demo page.
pub(super) fn write(
    place: &Place,
    addresses: &Addresses,
    secret: &str,
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

[client]
allow_anonymous_connect_without_token = true

[client.token]
hmac_secret_key = "{secret}"

[[tls.certificates]]
certificate = "{certificate}"
key = "{key}"
{demo}{namespaces}"#,
        metrics = addresses.metrics,
        certificate = file("server.pem"),
        key = file("server-key.pem"),
        demo = library.map_or_else(String::new, |library| demo(addresses, library)),
        namespaces = NAMESPACES,
    );
    let mut gateway = format!("# Made by `cargo xtask up`.\n[link]\npath = \"{socket}\"\n");
    let port = addresses.metrics.port();
    let page = library.map_or_else(Vec::new, |_| {
        vec![format!("http://{}", addresses.metrics), format!("http://localhost:{port}")]
    });
    let allowed: Vec<String> = page.iter().chain(origins).map(|origin| format!("{origin:?}")).collect();
    gateway.push_str(&format!("\n[websocket]\nallowed_origins = [{}]\n", allowed.join(", ")));
    let secure = addresses.secure.iter().map(|address| (address, true));
    let plain = addresses.plain.iter().map(|address| (address, false));
    for (address, tls) in secure.chain(plain) {
        gateway.push_str(&format!("\n[[listeners]]\naddress = \"{address}\"\ntls = {tls}\n"));
    }
    for (name, text) in [("relay.toml", relay), ("gateway.toml", gateway)] {
        fs::write(place.file(name), text)
            .with_context(|| format!("writing {}", place.file(name).display()))?;
    }
    Ok(())
}

fn demo(addresses: &Addresses, library: &Path) -> String {
    format!("\n[demo]\nurl = \"{}\"\nlibrary = \"{}\"\n", addresses.url(), library.display())
}

/// Channels without a namespace are open to everybody; `chat` keeps history and presence; `tick` keeps nothing.
const NAMESPACES: &str = r#"
[channel.without_namespace]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_anonymous = true

[[channel.namespaces]]
name = "chat"
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
