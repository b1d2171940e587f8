//! What all connections of a run have in common: how they look to the server, what they speak, and how far they go.

use std::sync::Arc;

use protocol::client::encoding::{Encoding, Messages};
use protocol::upgrade::client::Offer;
use protocol::upgrade::limits::KEY_BYTES;
use protocol::ws::Item;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::cause::Cause;

/// What all connections of a run have in common.
#[derive(Debug, Clone)]
pub struct Manner {
    /// TLS, and the name the certificate must have; plain when `None`.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// `Host` of the upgrade.
    pub authority: String,
    /// Path and query of the upgrade.
    pub path: String,
    /// `Origin` of the upgrade.
    pub origin: Option<String>,
    /// Offers permessage-deflate.
    pub deflate: bool,
    /// What is spoken.
    pub encoding: Encoding,
    /// How far to go.
    pub goal: Goal,
}

/// The stage at which a connection is as the mode wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// TLS is established (TCP, without TLS).
    Secured,
    /// The WebSocket is open.
    Upgraded,
    /// The session is connected and, if it has a channel, subscribed.
    Greeted,
}

impl Manner {
    /// The upgrade that is asked for.
    pub fn offer(&self, key: [u8; KEY_BYTES]) -> Offer<'_> {
        let Self { authority: host, path, deflate, encoding, .. } = self;
        // SDKs that speak JSON offer nothing.
        let subprotocol = (*encoding != Encoding::Json).then(|| encoding.subprotocol());
        Offer { host, path, key, subprotocol, origin: self.origin.as_deref(), deflate: *deflate }
    }

    /// What a WebSocket message holds; one of the other encoding's kind is none.
    pub fn messages<'a>(&self, said: &'a Item<'_>) -> Result<Messages<'a>, Cause> {
        match (self.encoding, said) {
            (Encoding::Json, Item::Text(text)) => Ok(self.encoding.received(text.as_bytes())),
            (Encoding::Protobuf, Item::Binary(bytes)) => Ok(self.encoding.received(bytes)),
            (Encoding::Json, _) => Err(Cause::Garbled("a binary message".to_owned())),
            (Encoding::Protobuf, _) => Err(Cause::Garbled("a text message".to_owned())),
        }
    }
}
