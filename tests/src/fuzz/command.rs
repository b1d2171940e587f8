//! Messages of the client protocol in JSON, both ways: what was read can be written and read again as the same.

use protocol::client::{command::Command, encoding::Encoding, limits::MESSAGES_IN_FRAME_MAX};

/// The input as a WebSocket message of a client, and as one of a server.
pub(super) fn run(bytes: &[u8]) {
    commands_in(Encoding::Json, bytes);
    received_in(Encoding::Json, bytes);
}

pub(super) fn commands_in(encoding: Encoding, bytes: &[u8]) {
    let mut ended = false;
    for command in encoding.commands(bytes) {
        assert!(!ended, "nothing comes after an error");
        match command {
            Ok(command) => again(encoding, &command),
            Err(_) => ended = true,
        }
    }
}

fn again(encoding: Encoding, command: &Command<'_>) {
    let mut written = Vec::new();
    encoding.command(command, &mut written);
    let mut read = encoding.commands(&written);
    assert_eq!(read.next(), Some(Ok(command.clone())), "{}", String::from_utf8_lossy(&written));
    assert_eq!(read.next(), None);
}

pub(super) fn received_in(encoding: Encoding, bytes: &[u8]) {
    let all = encoding.received(bytes);
    let good = all.clone().take_while(Result::is_ok).count();
    let said = all.count();
    assert!(said - good <= 1, "nothing comes after an error");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    [command_seeds(), received_seeds()].concat()
}

pub(super) fn command_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"id":1,"connect":{"token":"a.b.c","name":"js","version":"1","data":{"a":[1,2]},"subs":{"news":{"recover":true,"epoch":"e","offset":5}}}}"#,
        r#"{"id":2,"subscribe":{"channel":"chat:42","token":"t","recover":true,"epoch":"xAbC","offset":14,"flag":1,"data":{}}}"#,
        r#"{"id":3,"unsubscribe":{"channel":"chat:42"}}"#,
        r#"{"id":4,"publish":{"channel":"chat:42","data":{"text":"x\u00e9\ud83e\udd80\n\"\\"}}}"#,
        r#"{"id":5,"presence":{"channel":"c"}}"#,
        r#"{"id":6,"presence_stats":{"channel":"c"}}"#,
        r#"{"id":7,"history":{"channel":"c","limit":-1,"since":{"offset":18446744073709551615,"epoch":"e"},"reverse":true}}"#,
        r#"{"id":8,"rpc":{"method":"m","data":null}}"#,
        r#"{"send":{"data":[1.5e3,true,false,null,"s"]}}"#,
        r#"{"id":9,"refresh":{"token":"t"}}"#,
        r#"{"id":10,"sub_refresh":{"channel":"c","token":"t"}}"#,
        r#"{"id":4294967295,"ping":{}}"#,
        r#"{"unknown":[[[[[[[{"deep":1}]]]]]]],"id":11,"connect":{}}"#,
        "{}",
        " \n{}\r\n\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    let all: Vec<_> = seeds.iter().take(MESSAGES_IN_FRAME_MAX).map(Vec::as_slice).collect();
    seeds.push(all.join(&b'\n'));
    seeds
}

fn received_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"id":1,"connect":{"client":"9ac9de4e-5289-4ad6-9aa7-8447f007083e","version":"6","ping":25,"pong":true,"expires":true,"ttl":600,"subs":{"news":{"recoverable":true,"epoch":"e","offset":5,"positioned":true}}}}"#,
        r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"e","publications":[{"data":{"t":"a"},"offset":15,"tags":{"k":"v"}}],"recovered":true,"offset":14,"positioned":true,"was_recovering":true}}"#,
        r#"{"push":{"channel":"c","pub":{"data":{"text":"hi"},"info":{"user":"42","client":"9ac9","conn_info":{"name":"A"}},"offset":16}}}"#,
        r#"{"push":{"channel":"c","join":{"info":{"user":"42","client":"9ac9"}}}}"#,
        r#"{"push":{"channel":"c","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#,
        r#"{"push":{"message":{"data":{}}}}"#,
        r#"{"id":2,"error":{"code":103,"message":"permission denied","temporary":true}}"#,
        r#"{"id":6,"presence":{"presence":{"a":{"user":"42","client":"a"}}}}"#,
        r#"{"id":7,"presence_stats":{"num_clients":3,"num_users":2}}"#,
        r#"{"id":8,"history":{"publications":[{"data":1,"offset":15}],"epoch":"e","offset":16}}"#,
        "{}\n{}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
