//! The demo page of `cargo xtask up` in headless Chromium, driven by the scenarios in `tests/e2e/demo.mjs`.

use std::process::{Command, Stdio};

use tests::script;

use crate::up::{Place, ready};

fn in_chromium(scenario: &str) {
    let place = Place::new(scenario);
    let mut up = place.up();
    let said = ready(&mut up);
    let page = format!("http://127.0.0.1:{}/demo/", place.metrics);
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
    two_tabs_chat_and_see_each_other
    what_was_said_while_a_tab_was_offline_is_recovered_in_order
    a_tab_whose_network_is_lost_comes_back_by_itself
    who_comes_late_reads_what_was_said
    what_people_say_is_text_and_never_markup
    what_others_send_does_not_break_the_page
    it_works_by_keyboard_and_says_what_its_parts_are
}
