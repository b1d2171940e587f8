//! An echo server over real sockets, as small as one can be on our TLS, and what is needed to run other programs against it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::tls::{
    Cause, Certificates, Done, Handshake, Misbehaviour, Opened, Progress, ServerOptions, Suite,
    server_config, tickets,
};
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// How long any single step may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A line that makes the server ask for a key update before it is echoed.
pub(crate) const REKEY: &[u8] = b"server, rekey";

/// A self-signed certificate for `localhost`, its key, and both as PEM files.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivatePkcs8KeyDer<'static>,
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Identity {
    /// `name` tells the files of tests apart.
    pub(crate) fn new(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = |kind: &str, text: String| {
            let path = folder.join(format!("{name}-{}.{kind}.pem", std::process::id()));
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            certificate_file: file("certificate", certificate.pem()),
            key_file: file("key", key.serialize_pem()),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        }
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = PrivateKeyDer::from(self.key.clone_key());
        let certified = CertifiedKey::from_der(vec![self.certificate.clone()], key, &provider).unwrap();
        let options = ServerOptions { tickets: Some(tickets().unwrap()), ..ServerOptions::default() };
        server_config(&options, Arc::new(Certificates::new(vec![certified]).unwrap())).unwrap()
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.certificate_file);
        let _ = std::fs::remove_file(&self.key_file);
    }
}

/// How a connection went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The peer sent a close_notify and got one.
    Closed { suite: Suite, resumed: bool, http11: bool },
    /// The peer went without.
    Left,
    /// It was refused.
    Failed(Cause),
    /// It broke the rules and was told.
    Misbehaved(Misbehaviour),
}

/// Serves one connection after the other until dropped.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    ends: Receiver<End>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (say, ends) = channel();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if say.send(serve(stream, &config)).is_err() {
                    break;
                }
            }
        });
        Self { address, ends, thread: Some(thread) }
    }

    /// How the next connection to end has ended.
    pub(crate) fn end(&self) -> End {
        self.ends.recv_timeout(DEADLINE).expect("the connection ends")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Nobody listens to the end of this connection, which ends the thread.
        drop(std::mem::replace(&mut self.ends, channel().1));
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, config: &Arc<ServerConfig>) -> End {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut handshake = Handshake::server(config).unwrap();
    let (mut input, mut out) = (Vec::new(), Vec::new());
    let Done { mut traffic, resumed, http11, .. } = loop {
        if !read(&mut stream, &mut input) {
            return End::Left;
        }
        let progress = handshake.receive(&mut input, &mut out);
        let _ = stream.write_all(&out);
        out.clear();
        match progress {
            Ok(Progress::Done(done)) => break done,
            Ok(Progress::More) => {}
            Err(failure) => return End::Failed(failure.cause),
        }
    };
    loop {
        match traffic.open(&mut input) {
            Ok((_, Opened::Incomplete { .. })) => {
                if !read(&mut stream, &mut input) {
                    return End::Left;
                }
            }
            Ok((used, opened)) => {
                let closed = opened == Opened::Closed;
                if let Opened::Data(data) = opened {
                    if data.windows(REKEY.len()).any(|part| part == REKEY) {
                        traffic.request_key_update(&mut out).unwrap();
                    }
                    traffic.seal(data, &mut out).unwrap();
                }
                if closed {
                    traffic.seal_close(&mut out).unwrap();
                }
                let _ = stream.write_all(&out);
                out.clear();
                input.drain(..used);
                if closed {
                    return End::Closed { suite: traffic.suite(), resumed, http11 };
                }
            }
            Err(misbehaviour) => {
                traffic.seal_alert(misbehaviour, &mut out).unwrap();
                let _ = stream.write_all(&out);
                return End::Misbehaved(misbehaviour);
            }
        }
    }
}

/// Reads once; false at the end.
pub(crate) fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 * 1024];
    let count = stream.read(&mut buffer).unwrap_or(0);
    input.extend_from_slice(&buffer[..count]);
    count > 0
}

/// Another program, spoken to line by line; killed when dropped.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    heard: Mutex<Vec<String>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; install it (`cargo xtask test` does)"));
        let (say, lines) = channel();
        forward(child.stdout.take().unwrap(), say.clone());
        forward(child.stderr.take().unwrap(), say);
        Self { input: child.stdin.take(), child, lines, heard: Mutex::default() }
    }

    /// Writes a line at once.
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits for a line with `text` in it, on either output.
    pub(crate) fn hear(&self, text: &str) -> String {
        let mut heard = self.heard.lock().unwrap();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let Ok(line) = line else {
                panic!("no {text:?} but:\n{}", heard.join("\n"));
            };
            heard.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Closes the input and waits for the end; true if it was a good one.
    pub(crate) fn wait(mut self) -> (bool, String) {
        self.input = None;
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        // Ends when both outputs are closed.
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => heard.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("it does not end:\n{}", heard.join("\n")),
            }
        }
        (self.child.wait().unwrap().success(), heard.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(from: impl std::io::Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if to.send(text).is_err() {
                break;
            }
        }
    });
}
