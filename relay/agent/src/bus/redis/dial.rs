//! Connections: TCP, TLS, who we are, and what kind of server is at the other end.
//!
//! Owns how one connection is made and refused; never when.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time;
use tokio_rustls::TlsConnector;

use super::settings::{Login, Place, Settings};
use super::trouble::Trouble;

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, with or without TLS.
pub(super) type Stream = Box<dyn Duplex>;

/// A silent peer is probed after this, and given up after three more.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What a server says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Server {
    /// One run of its process.
    pub(super) run: String,
    version: String,
    cluster: bool,
    replica: bool,
    /// How many connections it has closed for their output buffers; Redis before 7.4 does not say.
    pub(super) kills: Option<u64>,
}

/// Commands over one connection; it ends with this value.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Commands {
    /// Waits for the connection's end.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.driver).await;
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects.
pub(super) async fn dial(settings: &Settings, address: &str) -> Result<Stream, Trouble> {
    let unreachable =
        |error: &dyn std::fmt::Display| Trouble::Unreachable(address.to_owned(), error.to_string());
    let dialling = async {
        let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3);
        // Without these it works too, and a dead peer is noticed later.
        let _ = (stream.set_nodelay(true), socket.set_tcp_keepalive(&keepalive));
        let Some(tls) = &settings.tls else { return Ok(Box::new(stream) as Stream) };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = if tls.name.is_empty() { host.trim_matches(['[', ']']) } else { &tls.name };
        let name = ServerName::try_from(name.to_owned()).map_err(|error| unreachable(&error))?;
        let connector = TlsConnector::from(std::sync::Arc::clone(&tls.client));
        let secure = connector.connect(name, stream).await.map_err(|error| unreachable(&error))?;
        Ok(Box::new(secure) as Stream)
    };
    let silent = || Trouble::Silent(address.to_owned(), settings.connect_timeout);
    time::timeout(settings.connect_timeout, dialling).await.map_err(|_| silent())?
}

/// Connects for commands.
pub(super) async fn commands(settings: &Settings, login: &Login, address: &str) -> Result<Commands, Trouble> {
    let stream = dial(settings, address).await?;
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let sentinel = matches!(&settings.place, Place::Sentinels { addresses, .. } if addresses.iter().any(|a| a == address));
    if !sentinel {
        info = info.set_db(i64::from(settings.database));
    }
    if !login.user.is_empty() {
        info = info.set_username(&login.user);
    }
    if let Ok(password) = str::from_utf8(login.password.bytes())
        && !password.is_empty()
    {
        info = info.set_password(password);
    }
    // A batch may end with a wait for replicas.
    let within = settings.answer_timeout + settings.wait_timeout;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(within));
    let making = MultiplexedConnection::new_with_config(&info, stream, config);
    let silent = || Trouble::Silent(address.to_owned(), settings.connect_timeout);
    let made = time::timeout(settings.connect_timeout, making).await.map_err(|_| silent())?;
    let (connection, driver) = made.map_err(|error| Trouble::of(address, &error))?;
    Ok(Commands { connection, driver: tokio::spawn(driver) })
}

/// Connects for commands to a server that can be the bus, or says why it cannot.
pub(super) async fn server(settings: &Settings, address: &str) -> Result<(Commands, Server), Trouble> {
    let mut commands = commands(settings, &settings.login, address).await?;
    let text: Result<String, _> = redis::cmd("INFO").query_async(&mut commands.connection).await;
    let server = Server::read(&text.map_err(|error| Trouble::of(address, &error))?);
    server.check(settings, address)?;
    Ok((commands, server))
}

impl Server {
    /// From the text of INFO.
    pub(super) fn read(text: &str) -> Self {
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.unwrap_or_default().trim().to_owned()
        };
        Self {
            run: field("run_id"),
            version: field("redis_version"),
            cluster: field("redis_mode") == "cluster",
            replica: field("role") == "slave",
            kills: field("client_output_buffer_limit_disconnections").parse().ok(),
        }
    }

    /// Whether it can be the bus.
    pub(super) fn check(&self, settings: &Settings, address: &str) -> Result<(), Trouble> {
        let mut numbers = self.version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let (least, name) = if settings.cluster() { ((7, 0), "7.0") } else { ((6, 2), "6.2") };
        let address = address.to_owned();
        if version < least {
            return Err(Trouble::TooOld(address, self.version.clone(), name));
        }
        match (settings.cluster(), self.cluster, self.replica) {
            (true, false, _) => Err(Trouble::NotCluster(address)),
            (false, true, _) => Err(Trouble::IsCluster(address)),
            (false, false, true) => Err(Trouble::Replica(address)),
            _ => Ok(()),
        }
    }
}

/// Asks the sentinels where the primary is.
pub(super) async fn primary(
    settings: &Settings,
    name: &str,
    addresses: &[String],
    login: &Login,
) -> Result<String, Trouble> {
    let mut last = "there are none".to_owned();
    for address in addresses {
        match asked(settings, name, address, login).await {
            Ok(Some((host, port))) => return Ok(format!("{host}:{port}")),
            Ok(None) => last = format!("{address} does not know that name"),
            // Somebody who has to do something should hear it.
            Err(trouble) if trouble.refusal() => return Err(trouble),
            Err(trouble) => last = trouble.to_string(),
        }
    }
    Err(Trouble::NoPrimary(name.to_owned(), last))
}

async fn asked(
    settings: &Settings,
    name: &str,
    address: &str,
    login: &Login,
) -> Result<Option<(String, String)>, Trouble> {
    let mut commands = commands(settings, login, address).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    question.query_async(&mut commands.connection).await.map_err(|error| Trouble::of(address, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let text =
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\nrole:master\r\n";
        let wanted = Server { run: "abc".into(), version: "7.0.15".into(), ..Server::default() };
        assert_eq!(Server::read(text), wanted);
        let newer = Server::read(&format!("{text}client_output_buffer_limit_disconnections:3\r\n"));
        assert_eq!(newer.kills, Some(3));
    }
}
