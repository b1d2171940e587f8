//! A client of a node's REST: one connection that is kept, one request at a time, as plain as HTTP can be spoken.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The password of all users of tests.
pub const PASSWORD: &str = "correct horse battery";

/// A client, signed in or not.
#[derive(Debug)]
pub struct Rest {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    token: Option<String>,
    /// Who it is signed in as; `Null` before.
    pub user: Value,
    /// The user's workspace.
    pub workspace: Value,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// Fields, in lower case.
    pub head: String,
    /// JSON, or `Null` where there is none.
    pub body: Value,
}

impl Answer {
    /// A field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The body of an answer that must have this status.
    pub fn expect(self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "answered {} and not {status}: {}", self.status, self.body);
        Ok(self.body)
    }
}

impl Rest {
    /// Nobody yet.
    pub const fn at(address: SocketAddr) -> Self {
        Self { address, connection: None, token: None, user: Value::Null, workspace: Value::Null }
    }

    /// Makes a workspace and is its first user.
    pub fn found(address: SocketAddr, workspace: &str, name: &str) -> Result<Self> {
        let body = json!({ "name": workspace, "user": { "name": name, "password": PASSWORD } });
        Self::begun(address, "/v1/workspaces", &body, 201)
    }

    /// Becomes a user of a workspace.
    pub fn register(address: SocketAddr, workspace: &str, name: &str) -> Result<Self> {
        let body = json!({ "workspace": workspace, "name": name, "password": PASSWORD });
        Self::begun(address, "/v1/register", &body, 201)
    }

    /// Signs in.
    pub fn login(address: SocketAddr, workspace: &str, name: &str) -> Result<Self> {
        let body = json!({ "workspace": workspace, "name": name, "password": PASSWORD });
        Self::begun(address, "/v1/login", &body, 200)
    }

    /// Somebody who has a token already.
    pub const fn with(address: SocketAddr, token: String) -> Self {
        Self { address, connection: None, token: Some(token), user: Value::Null, workspace: Value::Null }
    }

    fn begun(address: SocketAddr, path: &str, body: &Value, status: u16) -> Result<Self> {
        let mut rest = Self::at(address);
        let made = rest.call("POST", path, Some(body))?.expect(status).context(path.to_owned())?;
        rest.token = made["access_token"].as_str().map(str::to_owned);
        ensure!(rest.token.is_some(), "no token in {made}");
        (rest.user, rest.workspace) = (made["user"].clone(), made["workspace"].clone());
        Ok(rest)
    }

    /// Another connection of the same session.
    #[must_use]
    pub fn another(&self) -> Self {
        let (user, workspace) = (self.user.clone(), self.workspace.clone());
        Self { address: self.address, connection: None, token: self.token.clone(), user, workspace }
    }

    /// What connections to edges show.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// The user's id.
    pub fn id(&self) -> &str {
        self.user["id"].as_str().unwrap_or_default()
    }

    /// A request with the token, if there is one.
    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.request(method, path, &[], body)
    }

    /// The same with further fields. A kept connection that the node has closed meanwhile is replaced, once.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            text.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str("content-type: application/json\r\n");
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let kept = self.connection.is_some();
        match self.exchange(&text) {
            Err(_) if kept => self.exchange(&text),
            answer => answer,
        }
    }

    fn exchange(&mut self, text: &str) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let tcp = TcpStream::connect_timeout(&self.address, ANSWER_WITHIN)
                    .with_context(|| self.address.to_string())?;
                tcp.set_read_timeout(Some(ANSWER_WITHIN))?;
                tcp.set_nodelay(true)?;
                BufReader::new(tcp)
            }
        };
        connection.get_mut().write_all(text.as_bytes())?;
        let (answer, closes) = read(&mut connection)?;
        if !closes {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// An answer, and whether the connection ends with it.
fn read(from: &mut BufReader<TcpStream>) -> Result<(Answer, bool)> {
    let mut head = String::new();
    loop {
        let before = head.len();
        ensure!(from.read_line(&mut head)? > 0, "the node closed the connection");
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("not an HTTP answer")?;
    let head = head.to_ascii_lowercase();
    let mut answer = Answer { status, head, body: Value::Null };
    let length: usize = answer.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    // What is not JSON is text, for errors to show.
    answer.body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    let closes = answer.field("connection") == Some("close");
    Ok((answer, closes))
}
