//! The chat page of `cargo xtask up` in headless Chromium, driven by the scenarios in `tests/e2e/demo.mjs`.

use std::process::{Command, Stdio};

use tests::script;

use crate::up::started;

fn in_chromium(scenario: &str) {
    let (place, up, said) = started(scenario);
    let page = format!("http://127.0.0.1:{}/demo/", place.node);
    assert!(said.contains(&page), "{said}");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/demo.mjs");
    let run = Command::new("node")
        .arg(script)
        .arg(scenario)
        .env("HEADLAND_CLIENTS", script::clients().unwrap())
        .env("HEADLAND_URL", &page)
        .env("HEADLAND_CERTIFICATE", place.folder.join("server.pem"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}\n{}", up.last_lines());
}

macro_rules! in_chromium {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            in_chromium(stringify!($name));
        }
    )*};
}

in_chromium! {
    a_direct_message_reaches_every_device_of_both
    what_a_group_said_while_one_was_offline_is_there_once_and_in_order
    who_lost_the_network_comes_back_without_loss
    older_messages_come_by_scrolling_up
    edits_and_deletions_reach_who_is_there_and_who_comes_back
    who_leaves_a_group_hears_nothing_more_of_it
    messages_are_found_by_their_words_and_are_text_never_markup
}
