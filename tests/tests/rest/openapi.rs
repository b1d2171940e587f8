//! The description of the REST API against a real node, by Schemathesis: no 5xx, no answer that is not described.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use tests::node::Node;
use tests::rest::Rest;
use tests::script;

/// Requests for each operation, beside those that cover every rule of the description once.
const EXAMPLES: &str = "60";

#[test]
fn the_node_does_what_its_description_says() {
    let limits = "[limits]\nfailures_per_account = 0\nfailures_per_source = 0\nhashes = 2\n";
    let mut node = Node::alone(limits).unwrap();
    let mut ann = Rest::found(node.http, "acme", "ann").unwrap();
    let bob = Rest::register(node.http, "acme", "bob").unwrap();
    let group = json!({ "name": "general", "members": [bob.id()] });
    ann.call("POST", "/v1/channels", Some(&group)).unwrap().expect(201).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("rest");
    let folder = tests::folder::Folder::new().unwrap();
    let mut command = Command::new(script::clients().unwrap().join("schemathesis/bin/st"));
    command
        .arg("--config-file")
        .arg(ours.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", node.http));
    command.arg("--header").arg(format!("Authorization: Bearer {}", ann.token()));
    // All checks are made where none is named; named here they would be made in spite of the exceptions in the configuration.
    command.args(["--seed", "7", "--max-examples", EXAMPLES, "--workers", "2", "--no-color"]);
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", &ours).env("PYTHONDONTWRITEBYTECODE", "1");
    // Where it keeps its notes.
    command.current_dir(folder.file(""));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    node.program.check().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
