//! `[bus.mesh]`: this edge among the others, where relays keep links to each other.

use std::net::SocketAddr;
use std::path::PathBuf;

use wire::config::{Places, Problem};
use wire::config_table;

use super::{Secret, private};
use crate::bus::mesh::{Book, BookError, Entry, Identity, IdentityError, Prepared, is_address};
use crate::limits::MESH_KEY_BYTES_MIN;

config_table! {
    /// `[bus.mesh]`.
    pub struct Mesh {
        /// This edge's name among the peers: small letters, digits and hyphens.
        name: String = String::new(),
        /// Where other edges' relays connect. Must be loopback or private.
        address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9100)),
        /// Listen there, and dial edges, even if the address is public.
        allow_public_address: bool = false,
        /// All edges, this one included: one table for each, the same on every edge.
        peers: Vec<Peer> = Vec::new(),
        /// Instead: a file with a name and an address a line, looked at every second. Change it on all edges within seconds.
        peers_file: Option<PathBuf> = None,
        /// PEM file: this edge's certificate, with its name among the names in it, for both ends of a connection.
        certificate: Option<PathBuf> = None,
        /// PEM file: its private key.
        key: Option<PathBuf> = None,
        /// PEM file: the authority that has signed every edge's certificate.
        ca: Option<PathBuf> = None,
        /// Development only, instead of certificates: a key that all edges share, at least 16 bytes. Connections are encrypted with it, too.
        shared_key: Secret = Secret::default(),
    }
}

config_table! {
    /// `[[bus.mesh.peers]]`.
    pub struct Peer {
        /// The edge's name.
        name: String = String::new(),
        /// Where its relay listens: host and port.
        address: String = String::new(),
    }
}

impl Mesh {
    /// What is to be known before any file is read.
    pub(super) fn check(&self, places: &Places, problems: &mut Vec<Problem>) {
        let mut wrong =
            |key: &str, text: &str| problems.push(places.problem(&format!("bus.mesh.{key}"), text));
        if self.name.is_empty() {
            wrong("name", "must be this edge's name among the peers");
        }
        match (&self.peers_file, self.peers.is_empty()) {
            (None, true) => wrong("peers", "must list every edge, this one included, or peers_file must"),
            (Some(_), false) => wrong("peers_file", "cannot be with peers: give one of them"),
            _ => {}
        }
        for (index, peer) in self.peers.iter().enumerate().filter(|(_, peer)| !is_address(&peer.address)) {
            let text = format!("expected a host and a port such as \"10.0.0.1:9100\" for {:?}", peer.name);
            wrong(&format!("peers[{index}].address"), &text);
        }
        if !self.peers.is_empty() {
            if let Err(error) = relay::mesh::List::new(self.peers.iter().map(|peer| peer.name.as_str())) {
                wrong("peers", &error.to_string());
            } else if !self.name.is_empty() && !self.peers.iter().any(|peer| peer.name == self.name) {
                wrong("peers", &format!("must list this edge, {:?}, too", self.name));
            }
        }
        let files = [&self.certificate, &self.key, &self.ca].map(Option::is_some);
        match (files, self.shared_key.is_empty()) {
            ([true, true, true], true) => {}
            ([false, false, false], false) if self.shared_key.bytes().len() < MESH_KEY_BYTES_MIN => {
                wrong("shared_key", &format!("is below {MESH_KEY_BYTES_MIN} bytes"));
            }
            ([false, false, false], false) => {}
            ([false, false, false], true) => {
                wrong("certificate", "must be given with key and ca (or, for development, shared_key)");
            }
            (_, true) => wrong("certificate", "certificate, key and ca belong together: give all three"),
            (_, false) => wrong("shared_key", "cannot be with certificates: give one of them"),
        }
        if !self.allow_public_address && !private(self.address.ip()) {
            wrong("address", "is public: use a private address, or set bus.mesh.allow_public_address");
        }
    }

    /// Reads the files.
    pub(crate) fn prepare(&self) -> Result<Prepared, MeshError> {
        let peer = |peer: &Peer| Entry { name: peer.name.clone(), address: peer.address.clone() };
        let entries: Vec<Entry> = self.peers.iter().map(peer).collect();
        let book = Book::open(&self.name, &entries, self.peers_file.clone())?;
        if book.list().place(&self.name).is_none() {
            return Err(MeshError::Unlisted(self.name.clone()));
        }
        let identity = match (&self.certificate, &self.key, &self.ca) {
            (Some(certificate), Some(key), Some(ca)) => Identity::certificates(certificate, key, ca)?,
            _ => Identity::shared(self.shared_key.bytes())?,
        };
        Ok(Prepared { book, identity, public: self.allow_public_address })
    }
}

/// Why this edge cannot be one of a mesh.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// The list of edges.
    #[error("bus.mesh.peers_file: {0}")]
    Book(#[from] BookError),
    /// Certificates.
    #[error("bus.mesh: {0}")]
    Identity(#[from] IdentityError),
    /// This edge is not in the file.
    #[error("bus.mesh.peers_file does not list this edge, {0:?}")]
    Unlisted(String),
    /// The address.
    #[error("bus.mesh.address {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
}
