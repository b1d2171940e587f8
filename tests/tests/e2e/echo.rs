//! A gateway whose listeners echo: the Autobahn suite's cases over TLS, of its groups of large, many and compressed messages only some
//! (`cargo xtask conformance websocket` has all of them), and WebSocket libraries of others as peers.

use tests::conformance::websocket::{all, play, world};
use tests::script;
use tests::world::World;

#[test]
fn the_cases_of_the_autobahn_suite_pass_over_tls() {
    let world = world().unwrap();
    let cases = all();
    let groups = ["9.", "12.", "13."];
    let few = cases.iter().filter(|case| !groups.iter().any(|group| case.name.starts_with(group)));
    let one_of_each = [
        "9.1.6", "9.3.1", "9.4.9", "9.5.1", "9.8.4", "12.1.3", "12.2.11", "12.3.10", "12.4.16", "12.5.18",
        "13.1.14", "13.2.4", "13.3.2", "13.4.9", "13.5.2", "13.6.18", "13.7.7",
    ];
    let large = cases.iter().filter(|case| one_of_each.contains(&case.name.as_str()));
    for case in few.chain(large) {
        let verdict = play(&world, case, true).unwrap();
        assert!(verdict.passed() && verdict.behaviour != "NON-STRICT", "{}: {verdict:?}", case.name);
        // Offers that insist on a small window are declined.
        let declined = case.name.starts_with("13.3.") || case.name.starts_with("13.5.");
        assert_eq!(verdict.behaviour == "UNIMPLEMENTED", declined, "{}", case.name);
    }
}

#[test]
fn other_libraries_get_back_what_they_send() {
    let plain = World::builder().echo().start().unwrap();
    let libraries = [
        (plain, ["by_websockets", "by_wsproto"]),
        (world().unwrap(), ["deflate_by_websockets", "deflate_by_wsproto"]),
    ];
    for (world, libraries) in libraries {
        for url in [world.wss(), world.ws()] {
            for library in libraries {
                script::run(&world, "echo.py", library, &url).unwrap();
            }
        }
    }
}
