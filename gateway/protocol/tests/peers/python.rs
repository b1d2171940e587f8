//! Our TLS against Python's `ssl`: bytes one by one, a thousand records in one write, messages beyond a record.

use std::process::Command;

use super::echo::{Echo, End, Identity, Program};
use protocol::tls::Suite;

/// Speaks TLS over a memory buffer, so that the script decides what goes into each packet.
const SCRIPT: &str = r#"
import socket, ssl, sys
port, roots, version, piece = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(roots)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
context.set_alpn_protocols(["http/1.1"])
inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(inside, outside, server_hostname="localhost")
connection = socket.create_connection(("127.0.0.1", port), timeout=30)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

def flush():
    data = outside.read()
    for at in range(0, len(data), piece):
        connection.sendall(data[at:at + piece])

def run(call):
    while True:
        try:
            result = call()
            flush()
            return result
        except ssl.SSLWantReadError:
            flush()
            data = connection.recv(65536)
            if data:
                inside.write(data)
            else:
                inside.write_eof()

def expect(text):
    heard = b""
    while len(heard) < len(text):
        heard += run(lambda: tls.read(len(text) - len(heard)))
    assert heard == text, (len(heard), len(text))

run(tls.do_handshake)
assert tls.selected_alpn_protocol() == "http/1.1"
for n in range(20):
    text = b"message %d" % n
    tls.write(text)
    flush()
    expect(text)
# A thousand records, then one write.
texts = [b"pipelined %04d " % n for n in range(1000)]
for text in texts:
    tls.write(text)
flush()
expect(b"".join(texts))
# Messages of three records.
for n in range(3):
    text = bytes([n]) * 40000
    tls.write(text)
    flush()
    expect(text)
run(tls.unwrap)
print("all well")
"#;

fn run(name: &str, piece: usize) {
    let identity = Identity::new(name, &rcgen::PKCS_ECDSA_P256_SHA256);
    let echo = Echo::new(identity.server_config());
    // OpenSSL's clients prefer AES-256; the order is the server's.
    for (version, suite) in [("TLSv1_3", Suite::Aes128), ("TLSv1_2", Suite::Aes128Tls12)] {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT, &echo.address.port().to_string()]);
        command.arg(&identity.certificate_file).args([version, &piece.to_string()]);
        let (success, heard) = Program::start(&mut command).wait();
        assert!(success && heard.contains("all well"), "{version}:\n{heard}");
        assert_eq!(echo.end(), End::Closed { suite, resumed: false, http11: true });
    }
}

#[test]
fn python_speaks_in_large_writes() {
    run("python-large", 1 << 20);
}

#[test]
fn python_speaks_in_pieces_that_cut_records_anywhere() {
    run("python-pieces", 1237);
}

#[test]
fn python_speaks_byte_by_byte() {
    run("python-bytes", 1);
}
