//! A server that lets nobody in without TLS, a user and a password. Owns its certificates and its access list.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::{Folder, Server};
use crate::credentials::Authority;

/// The user that is let in.
const USER: &str = "headland";
/// Its password.
const PASSWORD: &str = "a password of tests";

/// A server with TLS and an access list.
#[derive(Debug)]
pub struct Secured {
    /// The server; its plain port is for `redis-cli` alone and asks for the password too.
    pub server: Server,
    /// Who signed its certificate.
    pub authority: Authority,
    tls: u16,
    certificates: Folder,
}

impl Secured {
    /// Starts it. `rules` is what the user may do: "~* &* +@all".
    pub fn start(rules: &str) -> Result<Self> {
        let (authority, certificates) = (Authority::new()?, Folder::new()?);
        let made = authority.server(&["localhost", "127.0.0.1"])?;
        let file = |name: &str| certificates.file(name);
        fs::write(file("ca.pem"), authority.certificate())?;
        fs::write(file("server.pem"), made.chain)?;
        fs::write(file("key.pem"), made.key)?;
        fs::write(file("password"), PASSWORD)?;
        let tls = super::free_port()?;
        let lines = certificates.fill(&format!(
            "tls-port {tls}\ntls-cert-file {{folder}}/server.pem\ntls-key-file {{folder}}/key.pem\n\
             tls-ca-cert-file {{folder}}/ca.pem\ntls-auth-clients no\n\
             user {USER} on \">{PASSWORD}\" {rules}\nuser default off\nuser admin on >admin ~* &* +@all\n"
        ));
        let login = ["--user", "admin", "--pass", "admin"].map(str::to_owned);
        let server = Server::launch(&lines, &login, false)?;
        Ok(Self { server, authority, tls, certificates })
    }

    /// Where clients connect with TLS; the certificate has this name.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.tls)
    }

    /// The user that is let in.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// Its password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A file with the password.
    pub fn password_file(&self) -> PathBuf {
        self.certificates.file("password")
    }

    /// The authority's certificate as a PEM file.
    pub fn authority_file(&self) -> PathBuf {
        self.certificates.file("ca.pem")
    }
}
