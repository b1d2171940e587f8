//! The program itself: what it says of its configuration, what operators order, how it ends.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tests::folder::Folder;
use tests::node::Node;
use tests::process;
use tests::rest::{PASSWORD, Rest};

fn run(folder: &Folder, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(process::programs().unwrap().join("headland-node"));
    command.args(arguments).current_dir(folder.file(""));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_bad_configuration_is_told_with_its_line_and_the_default_one_is_good() {
    let folder = Folder::new().unwrap();
    let printed = run(&folder, &["print-default-config"], "");
    std::fs::write(folder.file("default.toml"), &printed.stdout).unwrap();
    let good = run(&folder, &["check-config", "--config", "default.toml"], "");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    std::fs::write(folder.file("bad.toml"), "[http]\nadress = \"127.0.0.1:1\"\n").unwrap();
    let bad = run(&folder, &["check-config", "--config", "bad.toml"], "");
    let said = String::from_utf8_lossy(&bad.stderr);
    assert_eq!(bad.status.code(), Some(2));
    assert!(said.contains("bad.toml:2") && said.contains("did you mean 'address'?"), "{said}");
}

#[test]
fn an_operator_makes_users_where_registration_is_closed() {
    let folder = Folder::new().unwrap();
    let store =
        format!("registration = \"closed\"\n[store]\nfolder = \"{}\"\n", folder.file("store").display());
    std::fs::write(folder.file("node.toml"), &store).unwrap();
    let add = ["add-user", "--workspace", "acme", "--name", "ann", "--config", "node.toml"];
    let short = run(&folder, &add, "short\n");
    assert_eq!(short.status.code(), Some(1), "{short:?}");
    let made = run(&folder, &add, &format!("{PASSWORD}\n"));
    assert!(made.status.success(), "{made:?}");
    assert_eq!(run(&folder, &add, &format!("{PASSWORD}\n")).status.code(), Some(1), "the name is taken");
    let node = Node::alone(&store).unwrap();
    let mut ann = Rest::login(node.http, "acme", "ann").unwrap();
    ann.call("GET", "/v1/me", None).unwrap().expect(200).unwrap();
}

#[test]
fn what_was_stored_is_there_after_an_orderly_end_and_after_a_crash() {
    let mut room = crate::room::room();
    room.post("one");
    room.node.program.signal(Signal::TERM).unwrap();
    assert!(process::ended_well(room.node.program.ended(Duration::from_secs(15)).unwrap()));
    room.node.again().unwrap();
    // The read mark of whoever posted was written at the end.
    let member = format!("/v1/channels/{}/membership", room.channel);
    let read = room.ann.call("GET", &member, None).unwrap().expect(200).unwrap();
    assert_eq!(read["last_read"], 1);
    room.post("two");
    room.node.restart().unwrap();
    let path = room.messages("");
    let page = room.bob.call("GET", &path, None).unwrap().expect(200).unwrap();
    assert_eq!(crate::room::offsets(&page), [2, 1]);
    assert_eq!(page["messages"][0]["body"], json!({ "text": "two" }));
}

#[test]
fn metrics_count_requests_by_route_and_status() {
    let mut room = crate::room::room();
    room.post("one");
    room.ann.call("GET", "/v1/channels/7", None).unwrap().expect(404).unwrap();
    let metrics = tests::metrics::Metrics::scrape(room.node.http).unwrap();
    let of = |name: &str, labels: &[&str]| metrics.sum(name, labels);
    let posts = ["method=\"POST\"", "route=\"/v1/channels/{channel}/messages\"", "status=\"201\""];
    assert_eq!(of("headland_node_requests_total", &posts) as u64, 1);
    assert_eq!(of("headland_node_problems_total", &["problem=\"missing\""]) as u64, 1);
    assert_eq!(of("headland_node_request_seconds_count", &posts[..2]) as u64, 1);
    assert_eq!(of("headland_node_requests_under_way", &[]) as u64, 1, "this one");
}
