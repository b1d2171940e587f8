//! A gateway whose listeners echo: the Autobahn suite's cases over TLS, save the large messages of its group 9 (`cargo xtask
//! conformance websocket` has all of them), and WebSocket libraries of others as peers.

use tests::conformance::websocket::{all, play};
use tests::script;
use tests::world::World;

#[test]
fn the_cases_of_the_autobahn_suite_pass_over_tls() {
    let world = World::builder().echo().start().unwrap();
    let cases = all();
    let few = cases.iter().filter(|case| !case.name.starts_with("9."));
    let one_of_each = ["9.1.6", "9.3.1", "9.4.9", "9.5.1", "9.8.4"];
    let large = cases.iter().filter(|case| one_of_each.contains(&case.name.as_str()));
    for case in few.chain(large) {
        let verdict = play(&world, case, true).unwrap();
        assert!(verdict.passed() && verdict.behaviour != "NON-STRICT", "{}: {verdict:?}", case.name);
    }
}

#[test]
fn other_libraries_get_back_what_they_send() {
    let world = World::builder().echo().start().unwrap();
    for url in [world.wss(), world.ws()] {
        for library in ["by_websockets", "by_wsproto"] {
            script::run(&world, "echo.py", library, &url).unwrap();
        }
    }
}
