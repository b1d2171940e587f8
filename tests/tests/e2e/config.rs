//! Configuration of both programs from the command line: what is wrong is named with file, line, key and what is allowed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Runs `check-config` of a program on a text; whether it is good, and what is said.
fn check(program: &str, text: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let name = format!("headland-check-{}-{:?}.toml", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name.replace(['(', ')'], ""));
    fs::write(&path, text).unwrap();
    let out = run(program, &["check-config", "--config", path.to_str().unwrap()], variables);
    fs::remove_file(&path).unwrap();
    let (good, said) = out;
    (good, said.replace(path.to_str().unwrap(), "FILE"))
}

fn run(program: &str, args: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let path: PathBuf = tests::process::programs().unwrap().join(program);
    let out = Command::new(path).args(args).envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), said)
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_right_name() {
    let text = "[client]\ninsecure = false\n\n[[channel.namespaces]]\nname = \"chat\"\nhistroy_size = 10\n";
    let (good, said) = check("headland-relay", text, &[]);
    assert!(!good && said.contains("FILE:6") && said.contains("history_size"), "{said}");
    let (good, said) = check("headland-gateway", "[[listeners]]\nadress = \"127.0.0.1:0\"\n", &[]);
    assert!(!good && said.contains("FILE:2") && said.contains("address"), "{said}");
}

#[test]
fn a_wrong_value_is_refused_with_what_was_found_and_what_is_allowed() {
    let (good, said) = check("headland-relay", "[client]\nping_interval = 25\n", &[]);
    assert!(!good && said.contains("FILE:2") && said.contains("25") && said.contains("\"25s\""), "{said}");
    let (good, said) = check("headland-gateway", "[[listeners]]\naddress = \"nowhere\"\n", &[]);
    assert!(!good && said.contains("FILE:2") && said.contains("nowhere"), "{said}");
}

#[test]
fn the_environment_overrides_and_is_checked_too() {
    let good_text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n";
    assert!(check("headland-gateway", good_text, &[("HEADLAND_GATEWAY_SHARDS_COUNT", "2")]).0);
    let (good, said) = check("headland-gateway", good_text, &[("HEADLAND_GATEWAY_SHARDS_COUNT", "many")]);
    assert!(!good && said.contains("HEADLAND_GATEWAY_SHARDS_COUNT"), "{said}");
    let (good, said) = check("headland-relay", "", &[("HEADLAND_RELAY_CLIENT_PING_INTERVALL", "1s")]);
    assert!(!good && said.contains("HEADLAND_RELAY_CLIENT_PING_INTERVAL"), "{said}");
}

#[test]
fn the_printed_default_configuration_is_good_where_it_is_complete() {
    let (printed, text) = run("headland-relay", &["print-default-config"], &[]);
    assert!(printed, "{text}");
    let (good, said) = check("headland-relay", &text, &[]);
    assert!(good, "{said}");
    let (printed, text) = run("headland-gateway", &["print-default-config"], &[]);
    assert!(printed && text.contains("listeners"), "{text}");
}

#[test]
fn a_secret_is_never_printed() {
    let text = "[client.token]\nhmac_secret_key = \"do not show this\"\nhmac_secret = 1\n";
    let (good, said) = check("headland-relay", text, &[]);
    assert!(!good && !said.contains("do not show"), "{said}");
}
