//! Known answers: the application traffic of RFC 8448 §3, and key derivations computed the long way.

use aws_lc_rs::hmac;

use super::world::*;
use crate::tls::schedule;
use crate::tls::state::Field;
use crate::tls::{Opened, Suite, Traffic};

const CLIENT_SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_SECRET: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
const CLIENT_KEY: &str = "17422dda596ed5d9acd890e3c63f5051";
const CLIENT_IV: &str = "5b78923dee08579033e523d9";
const SERVER_KEY: &str = "9f02283b6c9c07efc26bb9f2ac92e356";
const SERVER_IV: &str = "cf782b88dd83549aadf1e984";

const TICKET: &str = "
    17 03 03 00 de 3a 6b 8f 90 41 4a 97 d6 95 9c 34 87 68 0d e5 13 4a 2b 24 0e 6c ff ac 11 6e 95 d4 1d
    6a f8 f6 b5 80 dc f3 d1 1d 63 c7 58 db 28 9a 01 59 40 25 2f 55 71 3e 06 1d c1 3e 07 88 91 a3 8e fb
    cf 57 53 ad 8e f1 70 ad 3c 73 53 d1 6d 9d a7 73 b9 ca 7f 2b 9f a1 b6 c0 d4 a3 d0 3f 75 e0 9c 30 ba
    1e 62 97 2a c4 6f 75 f7 b9 81 be 63 43 9b 29 99 ce 13 06 46 15 13 98 91 d5 e4 c5 b4 06 f1 6e 3f c1
    81 a7 7c a4 75 84 00 25 db 2f 0a 77 f8 1b 5a b0 5b 94 c0 13 46 75 5f 69 23 2c 86 51 9d 86 cb ee ac
    87 aa c3 47 d1 43 f9 60 5d 64 f6 50 db 4d 02 3e 70 e9 52 ca 49 fe 51 37 12 1c 74 bc 26 97 68 7e 24
    87 46 d6 df 35 30 05 f3 bc e1 86 96 12 9c 81 53 55 6b 3b 6c 67 79 b3 7b f1 59 85 68 4f";
const CLIENT_DATA: &str = "
    17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b
    98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee
    bb 21 69 49 15 e4";
const SERVER_DATA: &str = "
    17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3
    0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0
    32 e1 67 c2 95 5d";
const CLIENT_CLOSE: &str = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3";
const SERVER_CLOSE: &str = "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9";

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// One end of the connection of RFC 8448 §3, as it is right after the client's Finished.
fn rfc8448(client: bool) -> Traffic {
    let mut traffic = Traffic::blank(Suite::Aes128, client);
    let (mut send, mut receive) = traffic.halves(Suite::Aes128);
    let (ours, theirs) = if client { (CLIENT_SECRET, SERVER_SECRET) } else { (SERVER_SECRET, CLIENT_SECRET) };
    send.secret.copy_from_slice(&hex(ours));
    receive.secret.copy_from_slice(&hex(theirs));
    schedule::rekey(Suite::Aes128, &mut send).unwrap();
    schedule::rekey(Suite::Aes128, &mut receive).unwrap();
    traffic
}

fn payload() -> Vec<u8> {
    (0..50).collect()
}

#[test]
fn keys_and_ivs_follow_from_the_secrets_of_rfc_8448() {
    let mut client = rfc8448(true);
    let (send, receive) = client.halves(Suite::Aes128);
    assert_eq!((&*send.key, &send.iv[..]), (&hex(CLIENT_KEY)[..], &hex(CLIENT_IV)[..]));
    assert_eq!((&*receive.key, &receive.iv[..]), (&hex(SERVER_KEY)[..], &hex(SERVER_IV)[..]));
}

#[test]
fn the_records_of_rfc_8448_are_opened() {
    let mut client = rfc8448(true);
    let mut stream = [TICKET, SERVER_DATA, SERVER_CLOSE].map(hex).concat();
    let (used, opened) = client.open(&mut stream).unwrap();
    assert_eq!((used, opened), (227, Opened::Nothing));
    let (more, opened) = client.open(&mut stream[used..]).unwrap();
    assert_eq!((more, opened), (72, Opened::Data(&mut payload())));
    assert_eq!(client.open(&mut stream[used + more..]).unwrap(), (24, Opened::Closed));

    let mut server = rfc8448(false);
    let mut stream = [CLIENT_DATA, CLIENT_CLOSE].map(hex).concat();
    assert_eq!(server.open(&mut stream).unwrap(), (72, Opened::Data(&mut payload())));
    assert_eq!(server.open(&mut stream[72..]).unwrap(), (24, Opened::Closed));
}

#[test]
fn the_records_of_rfc_8448_are_sealed() {
    let mut out = Vec::new();
    let mut client = rfc8448(true);
    client.seal(&payload(), &mut out).unwrap();
    client.seal_close(&mut out).unwrap();
    assert_eq!(out, [CLIENT_DATA, CLIENT_CLOSE].map(hex).concat());

    out.clear();
    let mut server = rfc8448(false);
    // The ticket was the first record of the server's.
    server.sending(Suite::Aes128).put(Field::SEQUENCE, 1);
    server.seal_with(&mut out, |out| out.extend(payload())).unwrap();
    server.seal_close(&mut out).unwrap();
    assert_eq!(out, [SERVER_DATA, SERVER_CLOSE].map(hex).concat());
}

/// HKDF-Expand-Label as RFC 5869 and RFC 8446 §7.1 spell it, for outputs of at most one hash.
fn expand_label(hash: hmac::Algorithm, secret: &[u8], label: &str, bytes: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let mut info = (bytes as u16).to_be_bytes().to_vec();
    info.push(label.len() as u8);
    info.extend(label.as_bytes());
    info.push(0);
    info.push(1);
    hmac::sign(&hmac::Key::new(hash, secret), &info).as_ref()[..bytes].to_vec()
}

#[test]
fn each_key_update_derives_the_next_generation() {
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha] {
        let hash = if suite == Suite::Aes256 { hmac::HMAC_SHA384 } else { hmac::HMAC_SHA256 };
        let (mut traffic, _) = twins(suite, 7);
        let mut send = traffic.sending(suite);
        send.put(Field::OWED, 1);
        let mut secret = send.secret.to_vec();
        for _ in 0..3 {
            send.put(Field::SEQUENCE, 99);
            schedule::advance(suite, &mut send).unwrap();
            secret = expand_label(hash, &secret, "traffic upd", secret.len());
            assert_eq!(send.secret, secret);
            assert_eq!(send.key, expand_label(hash, &secret, "key", suite.key_bytes()));
            assert_eq!(send.iv[..], expand_label(hash, &secret, "iv", 12));
            assert_eq!(send.field(Field::SEQUENCE), 0);
        }
        assert_eq!(send.field(Field::OWED), 1);
        assert_eq!(traffic.suite(), suite);
    }
}
