//! The real program in a folder of its own, and what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::link::Link;
use wire::frame::Purpose;

/// Nothing here takes longer on a machine that works.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// A folder that is removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("headland-relay-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A certificate and its key as `NAME.pem` and `NAME-key.pem`.
    pub(crate) fn certificate(&self, name: &str) -> rcgen::KeyPair {
        let pair = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}-key.pem"), &pair.serialize_pem());
        pair
    }

    /// The configuration: metrics and link in place, and `more` (which begins in `[link]`) with `{folder}` filled in.
    pub(crate) fn configure(&self, http: SocketAddr, more: &str) {
        let folder = self.0.display().to_string();
        let text = format!("[http]\naddress = \"{http}\"\n[link]\npath = \"{folder}/relay.sock\"\n{more}");
        self.write("relay.toml", &text.replace("{folder}", &folder));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody listens on, taken from the system and given back.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A relay that runs.
pub(crate) struct Relay {
    pub(crate) folder: Folder,
    pub(crate) http: SocketAddr,
    child: Child,
    lines: Receiver<String>,
}

impl Relay {
    /// Starts with these lines of configuration and waits until it listens.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_in(Folder::new(), more)
    }

    pub(crate) fn start_in(folder: Folder, more: &str) -> Self {
        let http = free_port();
        folder.configure(http, more);
        let mut child = command(&folder.file("relay.toml")).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let relay = Self { folder, http, child, lines };
        relay.says("link on");
        relay
    }

    /// Waits for a line of the log that contains `text`, and gives it.
    pub(crate) fn says(&self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(WITHIN) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("the log never said {text:?}: {error}"),
            }
        }
    }

    pub(crate) fn connect(&self, purpose: Purpose) -> Link {
        Link::connect(&self.folder.file("relay.sock"), purpose)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Status line and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let (head, body) = self.request(&format!("GET {path} HTTP/1.1\r\nHost: relay\r\n"), "");
        (head.lines().next().unwrap().to_owned(), body)
    }

    /// Head and body of the answer to a request: its lines without the empty one, and its body.
    pub(crate) fn request(&self, lines: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        let length = body.len();
        write!(stream, "{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Memory that is the process's own, in bytes.
    pub(crate) fn private_bytes(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id())).unwrap();
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
        };
        line("Private_Dirty:") + line("Private_Clean:")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headland-relay"));
    command.args(["run", "--config"]).arg(config);
    command
}

/// Runs a relay that should not start: its exit code and what it says.
pub(crate) fn fails(folder: &Folder) -> (i32, String) {
    let output = command(&folder.file("relay.toml")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap().trim().to_owned())
}
