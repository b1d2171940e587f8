//! What `up` prints once it is up: where to connect, with what, and ten lines to start from.

use super::{Addresses, Place, reach};

pub(super) fn text(place: &Place, addresses: &Addresses, token: &str) -> String {
    let url = format!("wss://localhost:{}/connection/websocket", addresses.secure[0].port());
    let plain = addresses.plain.first().map_or_else(String::new, |address| {
        format!("\n  plain     ws://{}/connection/websocket", reach(*address))
    });
    let authority = place.file("ca.pem").display().to_string();
    let metrics = addresses.metrics;
    format!(
        r#"
Headland is up. Ctrl-C stops it.
  secure    {url}{plain}
  token     {token}
  metrics   http://{metrics}/metrics   health   http://{metrics}/health
  authority {authority}
  files     {files}

Node:     npm i centrifuge ws && NODE_EXTRA_CA_CERTS={authority} node client.mjs
Browser:  the same without the two lines of `ws`, after importing the authority (or opening https://localhost:{port} once).

  import {{ Centrifuge }} from "centrifuge";
  import websocket from "ws";
  const client = new Centrifuge("{url}", {{
    websocket,
    token: "{token}",
  }});
  const room = client.newSubscription("chat:lobby");
  room.on("publication", ({{ data }}) => console.log(data));
  room.subscribe(); client.connect();
  await room.ready(); await room.publish({{ text: "hello" }});
"#,
        files = place.folder.display(),
        port = addresses.secure[0].port(),
    )
}
