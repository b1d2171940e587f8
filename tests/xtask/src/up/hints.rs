//! What `up` prints once it is up: where to connect, with what, and ten lines to start from.

use super::{Addresses, Place, reach};

pub(super) fn text(place: &Place, addresses: &Addresses, token: &str, demo: bool) -> String {
    let url = addresses.url();
    let plain = addresses.plain.first().map_or_else(String::new, |address| {
        format!("\n  plain     ws://{}/connection/websocket", reach(*address))
    });
    let authority = place.file("ca.pem").display().to_string();
    let (metrics, node) = (addresses.metrics, addresses.node);
    let port = addresses.secure[0].port();
    let demo = if demo { demo_lines(addresses) } else { String::new() };
    format!(
        r#"
Headland is up. Ctrl-C stops it.
{demo}  secure    {url}{plain}
  token     {token}
  node      http://{node}/openapi.json
  metrics   http://{metrics}/metrics   health   http://{metrics}/health
  authority {authority}
  files     {files}

Node:     npm i centrifuge ws && NODE_EXTRA_CA_CERTS={authority} node client.mjs
Browser:  the same without the two lines of `ws`, after importing the authority (or opening https://localhost:{port} once)
          and with `cargo xtask up --origin` of the page.

  import {{ Centrifuge }} from "centrifuge";
  import websocket from "ws";
  const client = new Centrifuge("{url}", {{
    websocket,
    token: "{token}",
  }});
  const room = client.newSubscription("room:lobby");
  room.on("publication", ({{ data }}) => console.log(data));
  room.subscribe(); client.connect();
  await room.ready(); await room.publish({{ text: "hello" }});
"#,
        files = place.folder.display(),
    )
}

/// Where the page is, and how a browser comes to trust the development certificate.
fn demo_lines(addresses: &Addresses) -> String {
    format!(
        "  chat      http://{}/demo/   register two people in two browsers; before, let the browser trust the certificate: open \
         https://localhost:{}/ once\n            and go on past the warning, or import the authority below\n",
        addresses.node,
        addresses.secure[0].port()
    )
}
