//! Whole edges in one process, each with a runtime of its own that ends like a process, connected over loopback.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time;
use wire::frame::{self, Greeting, Purpose, VERSION};
use wire::link::{ClientInfo, Position, ToRelay, ToShard};
use wire::tags::Tags;
use wire::{ClientId, code};

use super::*;
use crate::link::Outlet;

const PATIENCE: Duration = Duration::from_secs(20);

/// What tells a test's edges how to trust each other.
#[derive(Clone)]
enum Trust {
    Key(&'static str),
    Files(PathBuf),
}

/// Edges that know each other by a file or by their configuration.
struct Edges {
    folder: PathBuf,
    addresses: Vec<(String, SocketAddr)>,
}

struct Edge {
    runtime: Option<Runtime>,
    relay: Arc<Relay>,
    bus: Arc<MeshBus>,
    link: LinkId,
    /// What the relay writes to the link.
    heard: UnixStream,
    inbox: Vec<u8>,
    request: u32,
}

impl Edges {
    fn new(test: &str, count: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("headland-mesh-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let listeners: Vec<_> =
            (0..count).map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        let name = |index: usize| format!("edge-{index}");
        let addresses = listeners.iter().enumerate();
        let addresses = addresses.map(|(index, listener)| (name(index), listener.local_addr().unwrap()));
        let edges = Self { folder, addresses: addresses.collect() };
        edges.list(count);
        edges
    }

    /// The first so many are listed.
    fn list(&self, count: usize) {
        let mut text = String::new();
        for (name, address) in &self.addresses[..count] {
            let _ = writeln!(text, "{name} {address}");
        }
        let next = self.folder.join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.folder.join("edges")).unwrap();
    }

    fn start(&self, index: usize, trust: &Trust) -> Edge {
        let (name, address) = &self.addresses[index];
        let mut text = format!(
            "[bus]\nkind = \"mesh\"\nlinger = \"0s\"\n[bus.mesh]\nname = \"{name}\"\naddress = \"{address}\"\npeers_file = {:?}\n",
            self.folder.join("edges")
        );
        match trust {
            Trust::Key(key) => writeln!(text, "shared_key = \"{key}\"").unwrap(),
            Trust::Files(folder) => {
                for (key, file) in [
                    ("certificate", format!("{name}.pem")),
                    ("key", format!("{name}.key")),
                    ("ca", "ca.pem".to_owned()),
                ] {
                    writeln!(text, "{key} = {:?}", folder.join(file)).unwrap();
                }
            }
        }
        text.push_str(
            "[[channel.namespaces]]\nname = \"kept\"\nhistory_size = 100\nhistory_ttl = \"1h\"\npresence = true\njoin_leave = true\n",
        );
        let checked = crate::config::read("test", &text, []).unwrap();
        let relay = Arc::new(Relay::new(&checked, 1).unwrap());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let numbers = (rand(), rand());
        let bus = MeshBus::new(
            &relay,
            &checked.settings,
            &checked.limits,
            checked.config.bus.mesh.prepare().unwrap(),
            numbers,
        );
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        tokio::spawn(Arc::clone(&bus).serve(TcpListener::from_std(listener).unwrap()));
        let shared: Arc<dyn Bus> = Arc::<MeshBus>::clone(&bus);
        relay.connect(shared);
        let ticking = Arc::clone(&relay);
        tokio::spawn(async move {
            loop {
                time::sleep(TICK).await;
                ticking.tick();
            }
        });
        let greeting = Greeting { version: VERSION, purpose: Purpose::Shard, gateway: 1, shard: 0 };
        // What tests hear fits the socket's buffer: nobody has to write the rest.
        let (heard, said) = UnixStream::pair().unwrap();
        let link = relay.open(&greeting, &Arc::new(Outlet::new(said.into_std().unwrap())));
        drop(entered);
        Edge { runtime: Some(runtime), relay, bus, link, heard, inbox: Vec::new(), request: 0 }
    }

    fn start_all(&self, count: usize) -> Vec<Edge> {
        let trust = Trust::Key("the key of this test");
        let edges: Vec<Edge> = (0..count).map(|index| self.start(index, &trust)).collect();
        edges.iter().for_each(|edge| edge.wait(|edge| edge.up() == count - 1));
        edges
    }

    /// A channel of the first three edges that this one owns.
    fn channel(&self, edges: usize, owner: usize) -> String {
        let names = self.addresses[..edges].iter().map(|(name, _)| name.as_str());
        let list = relay::mesh::List::new(names).unwrap();
        (0..).map(|number| format!("kept:{number}")).find(|channel| list.owner(channel) == owner).unwrap()
    }
}

impl Drop for Edges {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Edge {
    /// As a process ends: sockets close, nothing is said.
    fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }

    fn up(&self) -> usize {
        self.bus.links().iter().filter(|link| link.up).count()
    }

    fn wait(&self, done: impl Fn(&Self) -> bool) {
        let runtime = self.runtime.as_ref().unwrap();
        let waiting = async {
            while !done(self) {
                time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = runtime.block_on(async { time::timeout(PATIENCE, waiting).await });
        assert!(waited.is_ok(), "in time: {:?}", self.bus.links());
    }

    fn say(&mut self, message: &ToRelay<'_>) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).unwrap();
        assert_eq!(self.relay.receive(self.link, &bytes), Ok(bytes.len()));
    }

    fn number(&mut self) -> u32 {
        self.request += 1;
        self.request
    }

    /// The first message that `wanted` makes something of; those before it are dropped.
    fn hear<T>(&mut self, mut wanted: impl FnMut(&ToShard<'_>) -> Option<T>) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        let (heard, inbox) = (&mut self.heard, &mut self.inbox);
        let hearing = async {
            loop {
                while let Some((body, rest)) = frame::split(inbox).unwrap() {
                    let (found, taken) = (wanted(&frame::decode(body).unwrap()), inbox.len() - rest.len());
                    inbox.drain(..taken);
                    if let Some(found) = found {
                        return found;
                    }
                }
                assert!(heard.read_buf(inbox).await.unwrap() > 0, "the link is closed");
            }
        };
        runtime.block_on(async { time::timeout(PATIENCE, hearing).await }).expect("heard in time")
    }

    /// Subscribes; offset, epoch, and what was recovered if it was.
    fn subscribe(&mut self, channel: &str, recover: Option<(u64, &str)>) -> (u64, String, Option<usize>) {
        let recover = recover.map(|(offset, epoch)| Position { offset, epoch });
        loop {
            let request = self.number();
            self.say(&ToRelay::Subscribe { request, channel, recover, latest: false });
            let answer = self.hear(|message| match message {
                ToShard::Subscribed { request: of, offset, epoch, recovered, publications }
                    if *of == request =>
                {
                    Some(Ok((*offset, (*epoch).to_owned(), recovered.then_some(publications.len()))))
                }
                ToShard::Failed { request: of, code } if *of == request => Some(Err(*code)),
                _ => None,
            });
            match answer {
                Ok(answer) => return answer,
                Err(number) => assert!(code::error(number).temporary, "{number}"),
            }
        }
    }

    /// Publishes, again and again while the error is a temporary one. The place.
    fn publish(&mut self, channel: &str, data: &str) -> (u64, String) {
        loop {
            match self.try_publish(channel, data) {
                Ok(place) => return place,
                Err(number) => assert!(code::error(number).temporary, "{number}"),
            }
        }
    }

    fn try_publish(&mut self, channel: &str, data: &str) -> Result<(u64, String), u16> {
        let request = self.number();
        let tags = Tags::default();
        self.say(&ToRelay::Publish {
            request,
            channel,
            data: data.as_bytes(),
            info: None,
            tags,
            key: data,
            skip_history: false,
            delta: false,
        });
        self.hear(|message| match message {
            ToShard::Published { request: of, offset, epoch, .. } if *of == request => {
                Some(Ok((*offset, (*epoch).to_owned())))
            }
            ToShard::Failed { request: of, code } if *of == request => Some(Err(*code)),
            _ => None,
        })
    }

    fn publication(&mut self, channel: &str) -> (u64, String) {
        self.hear(|message| match message {
            ToShard::Publication { channel: of, publication } if *of == channel => {
                Some((publication.offset, String::from_utf8(publication.data.to_vec()).unwrap()))
            }
            _ => None,
        })
    }

    fn present(&mut self, channel: &str) -> Vec<ClientId> {
        let request = self.number();
        self.say(&ToRelay::Presence { request, channel });
        self.hear(|message| match message {
            ToShard::Presence { request: of, members } if *of == request => {
                Some(members.iter().map(|info| info.client).collect())
            }
            ToShard::Failed { request: of, .. } if *of == request => Some(Vec::new()),
            _ => None,
        })
    }
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

#[test]
fn while_an_owner_is_away_publications_fail_and_where_nothing_is_kept_the_next_edge_takes_over() {
    let edges = Edges::new("away", 3);
    let mut running = edges.start_all(3);
    let channel = edges.channel(3, 2);
    running[1].subscribe(&channel, None);
    running[1].subscribe("loose", None);
    running.pop().unwrap().kill();
    running[0].wait(|edge| edge.up() == 1);
    assert_eq!(running[0].try_publish(&channel, "two"), Err(code::INTERNAL.code));
    for number in 0..20 {
        let data = number.to_string();
        running[0].publish("loose", &data);
        assert_eq!(running[1].publication("loose"), (0, data));
    }
}

#[test]
fn everybody_is_seen_from_every_edge_also_after_the_owner_restarted() {
    let edges = Edges::new("presence", 3);
    let mut running = edges.start_all(3);
    let channel = edges.channel(3, 0);
    for (number, edge) in running.iter_mut().enumerate() {
        let info =
            ClientInfo { client: ClientId([number as u8; 16]), user: "ann", conn_info: b"", chan_info: b"" };
        edge.say(&ToRelay::Enter { channel: &channel, presence: true, announced: true, info });
    }
    let everybody: Vec<ClientId> = (0..3).map(|number| ClientId([number; 16])).collect();
    let soon = |edge: &mut Edge, expected: &[ClientId]| {
        for _ in 0..200 {
            if edge.present(&channel) == expected {
                return;
            }
            edge.runtime.as_ref().unwrap().block_on(async { time::sleep(Duration::from_millis(50)).await });
        }
        panic!("found {:?}", edge.present(&channel));
    };
    running.iter_mut().for_each(|edge| soon(edge, &everybody));
    running.remove(0).kill();
    running.insert(0, edges.start(0, &Trust::Key("the key of this test")));
    running.iter_mut().for_each(|edge| soon(edge, &everybody[1..]));
}

#[test]
fn streams_follow_a_list_that_grows_and_a_late_edge_recovers() {
    let edges = Edges::new("list", 4);
    edges.list(3);
    let mut running = edges.start_all(3);
    // A channel that the fourth edge will own.
    let channel = edges.channel(4, 3);
    let (_, epoch, _) = running[0].subscribe(&channel, None);
    (1..=30).for_each(|number| assert_eq!(running[1].publish(&channel, &number.to_string()).0, number));
    edges.list(4);
    running.push(edges.start(3, &Trust::Key("the key of this test")));
    running.iter().for_each(|edge| edge.wait(|edge| edge.up() == 3));
    assert_eq!(running[3].subscribe(&channel, Some((5, &epoch))), (30, epoch.clone(), Some(25)));
    assert_eq!(running[2].publish(&channel, "30"), (30, epoch.clone()), "keys have moved, too");
    assert_eq!(running[2].publish(&channel, "31"), (31, epoch));
    let last = (0..31).map(|_| running[0].publication(&channel)).last().unwrap();
    assert_eq!(last, (31, "31".to_owned()), "nobody has to begin anew");
}

#[test]
fn certificates_say_who_is_who() {
    let edges = Edges::new("tls", 3);
    let folder = edges.folder.clone();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = ca.self_signed(&ca_key).unwrap();
    std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    // The third edge has a certificate of another's.
    for (name, named) in [("edge-0", "edge-0"), ("edge-1", "edge-1"), ("edge-2", "edge-1")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed =
            rcgen::CertificateParams::new(vec![named.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), signed.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let trust = Trust::Files(folder);
    let mut running: Vec<Edge> = (0..3).map(|index| edges.start(index, &trust)).collect();
    running[0].wait(|edge| edge.up() == 1);
    let channel = edges.channel(3, 1);
    running[0].publish(&channel, "one");
    let why = |edge: &Edge, name: &str| {
        edge.bus.links().into_iter().find(|link| link.name == name).unwrap().error.unwrap_or_default()
    };
    running[0].wait(|edge| why(edge, "edge-2").contains("certificate"));
    assert_eq!(running[2].up(), 0);
}

#[test]
fn another_key_is_refused_and_health_says_so() {
    let edges = Edges::new("key", 2);
    let one = edges.start(0, &Trust::Key("the key of this test"));
    let other = edges.start(1, &Trust::Key("another key of a test"));
    other.wait(|edge| {
        edge.bus.links()[0].error.as_deref().is_some_and(|error| error.contains("its key is another"))
    });
    one.wait(|edge| edge.bus.links()[0].error.as_deref() != Some("not connected yet"));
    assert_eq!((one.up(), other.up()), (0, 0));
}

#[test]
fn another_version_is_refused_and_counted() {
    use wire::mesh::{HELLO_BYTES, Hello, PROOF_BYTES};
    let edges = Edges::new("version", 2);
    let one = edges.start(0, &Trust::Key("the key of this test"));
    let identity = Identity::shared(b"the key of this test").unwrap();
    let (_, address) = &edges.addresses[0];
    let hello = Hello { version: 77, run: 1, name: "edge-1", to: "edge-0", proof: [0; PROOF_BYTES] };
    let answered = one.runtime.as_ref().unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut stream = identity.connect(stream, "edge-0").await.unwrap();
        stream.write_all(&hello.encode()).await.unwrap();
        let mut answer = [0; HELLO_BYTES];
        stream.read_exact(&mut answer).await.unwrap();
        Hello::decode(&answer).unwrap().version
    });
    assert_eq!(answered, wire::mesh::VERSION);
    one.wait(|edge| edge.bus.book.strangers() == 1);
    let error = one.bus.links()[0].error.clone().unwrap();
    assert!(
        error.contains("it speaks mesh version 77") && error.contains("run one release on all edges"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_a_mesh_is_said_with_its_key() {
    let peers = "[[bus.mesh.peers]]\nname = \"a\"\naddress = \"10.0.0.1:9100\"\n";
    for (text, expected) in [
        ("", "name"),
        ("name = \"a\"\nshared_key = \"the key of this test\"\n", "peers"),
        (&format!("name = \"b\"\nshared_key = \"the key of this test\"\n{peers}"), "must list this edge"),
        (&format!("name = \"a\"\nshared_key = \"short\"\n{peers}"), "is below 16 bytes"),
        (&format!("name = \"a\"\n{peers}"), "certificate"),
        (&format!("name = \"a\"\ncertificate = \"x.pem\"\n{peers}"), "belong together"),
        (
            &format!(
                "name = \"a\"\naddress = \"8.8.8.8:9100\"\nshared_key = \"the key of this test\"\n{peers}"
            ),
            "is public",
        ),
        (
            &format!("name = \"a\"\nshared_key = \"the key of this test\"\n{}", peers.replace(":9100", "")),
            "expected a host and a port",
        ),
    ] {
        let text = format!("[bus]\nkind = \"mesh\"\n[bus.mesh]\n{text}");
        let error = crate::config::read("test", &text, []).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let public = "name = \"a\"\naddress = \"8.8.8.8:9100\"\nallow_public_address = true\nshared_key = \"the key of this test\"\n";
    let text = format!("[bus]\nkind = \"mesh\"\n[bus.mesh]\n{public}{peers}");
    assert!(crate::config::read("test", &text, []).is_ok());
}
