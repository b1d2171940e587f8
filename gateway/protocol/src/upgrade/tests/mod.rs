//! The world of these tests: the request of RFC 6455 §1.3, changed by what a test is about.

mod allowed;
mod both_ends;
mod extension;
mod refused;

use super::*;

/// A request as lines, changed and then read.
#[derive(Clone)]
struct Try {
    lines: Vec<String>,
    rules: Rules,
}

impl Try {
    fn new() -> Self {
        let lines = [
            "GET /connection/websocket HTTP/1.1",
            "Host: server.example.com",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ];
        Self { lines: lines.map(str::to_owned).to_vec(), rules: Rules::default() }
    }

    fn first(mut self, line: &str) -> Self {
        line.clone_into(&mut self.lines[0]);
        self
    }

    fn with(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Drops the field, if it was there, and adds this one.
    fn set(self, line: &str) -> Self {
        let name = line.split(':').next().unwrap().to_owned();
        self.without(&name).with(line)
    }

    fn without(mut self, name: &str) -> Self {
        let start = format!("{name}:").to_ascii_lowercase();
        self.lines.retain(|line| !line.to_ascii_lowercase().starts_with(&start));
        self
    }

    fn origins(mut self, origins: &[&str]) -> Self {
        self.rules.origins = origins.iter().map(|origin| Origin::parse(origin).unwrap()).collect();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        (self.lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    fn read(&self) -> Result<Parsed<Upgrade>, Refusal> {
        request(&self.bytes(), &self.rules)
    }

    fn upgrade(&self) -> Upgrade {
        match self.read() {
            Ok(Parsed::Complete { consumed, head }) => {
                assert_eq!(consumed, self.bytes().len());
                head
            }
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self) -> Refusal {
        self.read().unwrap_err()
    }
}

fn answer(upgrade: &Upgrade) -> String {
    let mut out = Vec::new();
    response(upgrade, &mut out);
    String::from_utf8(out).unwrap()
}
