//! SDKs whose tool chains are large: Go's and Java's, and the community's Rust one; unmodified, against a real edge over TLS.
//! `cargo xtask conformance sdks` builds the programs beside this file, which hold the scenarios, and runs this.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tests::credentials::hs256;
use tests::script::Script;
use tests::world::{SECRET, World};

/// A scenario of a program, in a world of its own.
fn run(mut program: Command, scenario: &str, encoding: &str) {
    let world = World::start().unwrap();
    program.args([scenario, encoding]).env("HEADLAND_URL", world.wss());
    program.env("HEADLAND_CA", world.file("ca.pem")).env("SSL_CERT_FILE", world.file("ca.pem"));
    for (name, user, expiry) in [("ANN", "ann", None), ("BOB", "bob", None), ("EXPIRED", "ann", Some(1))] {
        let mut claims = json!({ "sub": user, "info": { "name": user } });
        if let Some(expiry) = expiry {
            claims["exp"] = json!(expiry);
        }
        program.env(name, hs256(SECRET, &claims).unwrap());
    }
    let name = format!("{} {scenario} {encoding}", program.get_program().display());
    Script::spawn(name, program).unwrap().end().unwrap();
}

/// Where `cargo xtask conformance sdks` has put the programs.
fn built() -> PathBuf {
    let folder = match std::env::var_os("HEADLAND_CLIENTS") {
        Some(folder) => PathBuf::from(folder),
        None => tests::process::programs().unwrap().parent().unwrap().join("e2e"),
    };
    folder.join("sdks")
}

fn go() -> Command {
    Command::new(built().join("go/sdk"))
}

fn java() -> Command {
    let folder = built().join("java/target");
    let mut command = Command::new("java");
    command.arg("-cp").arg(format!("{0}/classes:{0}/dependency/*", folder.display())).arg("Sdk");
    command
}

fn rust() -> Command {
    Command::new(built().join("rust/debug/sdk"))
}

macro_rules! scenarios {
    ($program:ident, $encoding:literal, $($name:ident)*) => {$(
        #[test]
        fn $name() {
            super::run(super::$program(), stringify!($name), $encoding);
        }
    )*};
}

mod go_json {
    scenarios! { go, "json",
        chats_and_sees_who_is_there recovers_what_it_missed errors_are_the_protocols_own an_expired_token_is_replaced
    }
}

mod go_protobuf {
    scenarios! { go, "protobuf",
        chats_and_sees_who_is_there recovers_what_it_missed errors_are_the_protocols_own an_expired_token_is_replaced
    }
}

mod java_protobuf {
    scenarios! { java, "protobuf",
        chats_and_sees_who_is_there recovers_what_it_missed errors_are_the_protocols_own an_expired_token_is_replaced
        bytes_that_are_not_text_pass
    }
}

mod rust_json {
    scenarios! { rust, "json", chats errors_are_the_protocols_own }
}

mod rust_protobuf {
    scenarios! { rust, "protobuf", chats errors_are_the_protocols_own }
}
