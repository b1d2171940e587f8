//! What a stranger can say in a TLS handshake, a ClientHello first: it is heard the same in whatever pieces and in one pass or two,
//! costs a bounded amount, is told what was wrong, and never gets past the handshake without the keys.

use std::sync::{Arc, OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use protocol::tls::{
    Begun, Cause, Certificates, Failure, Handshake, Progress, ServerOptions, Unsigned,
    certificate::Remote,
    limits::{BODY_TLS12_BYTES_MAX, HANDSHAKE_SERVER_BYTES_MAX, HEADER_BYTES},
    server_config, tickets,
};
use rustls::ServerConfig;
use wire::settings::Certificate;

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const DATA: u8 = 23;
const ECDSA_P256_SHA256: u16 = 0x0403;
/// What is sent at most: a hello with a post-quantum share or a request to try again, the certificate, an alert.
const ANSWER_BYTES_MAX: usize = 4096;

/// For `localhost` and `*.example.com`. Nobody has its key.
const CERTIFICATE: &str = "\
    MIIBojCCAUigAwIBAgIUY/LK1I62vNwDKWuRPQnMaRcoGjAwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MB4XDTI2\
    MTEyMDE2NDA0OFoXDTM2MTExNzE2NDA0OFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\
    2rVB5ToJFUheG+O+4Qsr9I+KSL03lqmexraOwRqMnNKAg8Uka+xPmG/XQBo3do9cX/Jgmg+hdWVchmW5emZmiaN4MHYwHQYDVR0O\
    BBYEFD3d/dI4GlDP8My4PsFS4A7Sxoy3MB8GA1UdIwQYMBaAFD3d/dI4GlDP8My4PsFS4A7Sxoy3MA8GA1UdEwEB/wQFMAMBAf8w\
    IwYDVR0RBBwwGoIJbG9jYWxob3N0gg0qLmV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIFa73BY9l4UhiA8x53z7C7hWVn94\
    279hgqGv/VHqeVLEAiEAqntDMiN+THFWxpxGZe8s4HIRpwcG+B5BZ3jScybRju8=";

/// Signs everything with a signature of the right length, or nothing.
struct Holder {
    willing: bool,
}

impl Remote for Holder {
    fn sign(&self, _key: u32, _scheme: u16, _message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        if self.willing { Ok(vec![0x30; 70]) } else { Err(Unsigned::Refused) }
    }
}

/// What came of a stream.
#[derive(PartialEq, Eq, Debug)]
enum Said {
    /// Type and length of the records that were sent.
    Answers(Vec<(u8, usize)>),
    /// What was sent before depends on when the fault came: an alert may stand in the place of a flight.
    Failed(Cause),
}

/// A byte that chooses the server, one that says how to cut, then the stream.
pub(super) fn run(bytes: &[u8]) {
    let Some((&[how, piece], stream)) = bytes.split_first_chunk() else { return };
    let whole = converse(how, stream, stream.len().max(1), false);
    assert_eq!(converse(how, stream, usize::from(piece).max(1), true), whole, "in pieces, in two passes");
}

fn converse(how: u8, stream: &[u8], piece: usize, passes: bool) -> Said {
    let server = Handshake::server(config(how));
    let mut server = server.expect("invariant: the configuration is one for servers");
    let (mut input, mut out, mut failed) = (Vec::new(), Vec::new(), None);
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        let heard = if passes {
            in_two(&mut server, how, &mut input, &mut out)
        } else {
            server.receive(&mut input, &mut out)
        };
        match heard {
            Ok(Progress::More) => {
                assert!(input.len() <= HANDSHAKE_SERVER_BYTES_MAX + HEADER_BYTES + BODY_TLS12_BYTES_MAX);
            }
            Ok(Progress::Done(_)) => panic!("nobody knows the keys"),
            Err(Failure { cause }) => {
                failed = Some(cause);
                break;
            }
        }
    }
    let sent = records(&out);
    assert!(out.len() <= ANSWER_BYTES_MAX);
    let alerted = sent.last().is_some_and(|(kind, _)| matches!(*kind, 21 | DATA));
    assert!(alerted || matches!(failed, None | Some(Cause::Alerted(_))), "{failed:?} is said: {sent:?}");
    assert_ne!(failed, Some(Cause::Internal));
    failed.map_or(Said::Answers(sent), Said::Failed)
}

fn in_two(
    server: &mut Handshake,
    how: u8,
    input: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Progress, Failure> {
    match server.begin(input, out)? {
        Begun::Progress(progress) => Ok(progress),
        Begun::Unsigned => {
            assert!(input.is_empty());
            let wanted = server.wanted().expect("invariant: an unsigned flight wants a signature");
            let holder = Holder { willing: is_willing(how) };
            let signature = holder.sign(wanted.key, wanted.scheme, &wanted.message);
            server.signed(signature, input, out)
        }
    }
}

/// What is sent is whole records.
fn records(mut out: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    while let Some(&[kind, 3, _, high, low]) = out.first_chunk() {
        let body = usize::from(u16::from_be_bytes([high, low]));
        found.push((kind, body));
        out = out.get(HEADER_BYTES + body..).expect("a record is sent whole");
    }
    assert!(out.is_empty(), "only records are sent");
    found
}

const fn is_willing(how: u8) -> bool {
    how & 4 == 0
}

/// By bits: no TLS 1.2, a post-quantum group, a key that does not sign, tickets.
fn config(how: u8) -> &'static Arc<ServerConfig> {
    static CONFIGS: OnceLock<Vec<Arc<ServerConfig>>> = OnceLock::new();
    let make = |how: u8| {
        let chain = STANDARD.decode(CERTIFICATE).expect("invariant: the constant is base64");
        let certificate = Certificate { key: 7, chain: vec![chain.into()], schemes: vec![ECDSA_P256_SHA256] };
        let holder = Arc::new(Holder { willing: is_willing(how) }) as Arc<dyn Remote>;
        let certificates = Certificates::remote(&[certificate], &holder);
        let certificates = certificates.expect("invariant: the constant is a certificate");
        let tickets = (how & 8 != 0).then(tickets).and_then(Result::ok);
        let options = ServerOptions { tls12: how & 1 == 0, post_quantum: how & 2 != 0, tickets };
        server_config(&options, Arc::new(certificates)).expect("invariant: a gateway's own options")
    };
    let configs = CONFIGS.get_or_init(|| (0..16).map(make).collect());
    &configs[usize::from(how & 15)]
}

/// A length in so many bytes, and what it is of.
fn block<const BYTES: usize>(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[4 - BYTES..], content].concat()
}

fn numbers(all: &[u16]) -> Vec<u8> {
    block::<2>(&all.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &block::<2>(body)].concat()
}

/// RFC 8446 §4.1.2. The extensions by their numbers.
fn hello(suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let extension = |(kind, body): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &block::<2>(body)].concat();
    let extensions: Vec<u8> = extensions.iter().flat_map(extension).collect();
    let parts = [
        [&[3, 3], &[7; 32][..]].concat(),
        block::<1>(&[9; 32]),
        numbers(suites),
        block::<1>(&[0]),
        block::<2>(&extensions),
    ];
    [&[1][..], &block::<3>(&parts.concat())].concat()
}

/// What every client says, in either version.
fn common(groups: &[u16]) -> Vec<(u16, Vec<u8>)> {
    let name = [&[0][..], &block::<2>(b"a.example.com")].concat();
    vec![
        (0, block::<2>(&name)),
        (10, numbers(groups)),
        (11, block::<1>(&[0])),
        (13, numbers(&[ECDSA_P256_SHA256, 0x0804, 0x0401])),
        (16, block::<2>(&block::<1>(b"http/1.1"))),
        (23, Vec::new()),
        (35, Vec::new()),
        (0xff01, vec![0]),
    ]
}

/// The ClientHello of a TLS 1.3 client with these shares.
fn modern(shares: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let share = |(group, key): &(u16, Vec<u8>)| [&group.to_be_bytes()[..], &block::<2>(key)].concat();
    let shares: Vec<u8> = shares.iter().flat_map(share).collect();
    let more = [(43, block::<1>(&[3, 4, 3, 3])), (45, vec![1, 1]), (51, block::<2>(&shares))];
    hello(&[0x1301, 0x1302, 0x1303, 0xc02b], &[common(&[0x11ec, 29, 23]), more.to_vec()].concat())
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let x25519 = (29, vec![9; 32]);
    let lattice = (0x11ec, [vec![0; 1184], vec![9; 32]].concat());
    let first = modern(std::slice::from_ref(&x25519));
    let finished = record(DATA, &[0x55; 53]);
    let ccs = record(CHANGE_CIPHER_SPEC, &[1]);
    let old = hello(&[0xc02b, 0xc02f, 0x009c], &common(&[29, 23]));
    let exchange = [&[16][..], &block::<3>(&block::<1>(&[9; 32]))].concat();
    let early = {
        let identity = [block::<2>(&[7; 64]), vec![0; 4]].concat();
        let psk = [block::<2>(&identity), block::<2>(&block::<1>(&[5; 32]))].concat();
        let shares = block::<2>(&[&29_u16.to_be_bytes()[..], &block::<2>(&[9; 32])].concat());
        let more = [(43, block::<1>(&[3, 4])), (45, vec![1, 1]), (51, shares), (42, Vec::new()), (41, psk)];
        hello(&[0x1301], &[common(&[29]), more.to_vec()].concat())
    };
    let cut = first.len() / 2;
    let streams: [Vec<u8>; 9] = [
        [record(HANDSHAKE, &first), ccs.clone(), finished.clone()].concat(),
        [record(HANDSHAKE, &modern(&[])), ccs.clone(), record(HANDSHAKE, &first)].concat(),
        [record(HANDSHAKE, &old), record(HANDSHAKE, &exchange), ccs, record(HANDSHAKE, &[0x55; 40])].concat(),
        [record(HANDSHAKE, &first[..cut]), record(HANDSHAKE, &first[cut..])].concat(),
        [record(HANDSHAKE, &modern(&[lattice, x25519])), finished.clone()].concat(),
        [record(HANDSHAKE, &early), finished].concat(),
        [record(HANDSHAKE, &first), record(21, &[2, 48])].concat(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        record(HANDSHAKE, &[14, 0, 0, 0]),
    ];
    let with = |how: u8| streams.iter().map(move |stream| [&[how, 60], &stream[..]].concat());
    [0, 1, 2, 4, 8].into_iter().flat_map(with).collect()
}
