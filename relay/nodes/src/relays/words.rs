//! What is told to relays: entries as clients get them, and the commands of the server API.

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use wire::node;

use super::names::{Name, UserName};
use crate::model::{Entry, EntryKind, Id, UnixMs};

/// A command of the server API.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Command {
    /// An entry that is stored.
    Announce(node::Announce),
    /// What is stored elsewhere or nowhere.
    Publish {
        channel: String,
        data: Box<RawValue>,
        #[serde(skip_serializing_if = "String::is_empty")]
        idempotency_key: String,
    },
    /// A user is in a channel: where connections begin with their user's channels, those of now are in it too.
    Subscribe { user: String, channel: String, where_listed: bool },
    /// A user is not in a channel.
    Unsubscribe { user: String, channel: String },
}

/// An entry as clients get it (relay/NODES.md).
#[derive(Serialize)]
struct Told<'a> {
    r#type: &'static str,
    id: Id,
    sender: Id,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "str::is_empty")]
    media: &'a str,
    #[serde(skip_serializing_if = "is_never")]
    created_at: UnixMs,
    #[serde(skip_serializing_if = "is_never")]
    edited_at: UnixMs,
    #[serde(skip_serializing_if = "is_never")]
    deleted_at: UnixMs,
}

const fn is_never(at: &UnixMs) -> bool {
    *at == 0
}

/// An entry as it crosses the bus.
pub fn publication(workspace: Id, entry: &Entry) -> Result<node::Publication, serde_json::Error> {
    let message = &entry.message;
    let told = Told {
        r#type: entry.kind.name(),
        id: message.id,
        sender: message.sender,
        key: "",
        body: Some(&message.body),
        media: "",
        created_at: 0,
        edited_at: message.edited_at,
        deleted_at: message.deleted_at,
    };
    let told = match entry.kind {
        EntryKind::Posted => {
            Told { key: &message.key, media: &message.media, created_at: message.created_at, ..told }
        }
        EntryKind::Edited => told,
        EntryKind::Deleted => Told { body: None, edited_at: 0, ..told },
    };
    Ok(node::Publication {
        offset: entry.offset,
        data: to_raw_value(&told)?,
        id: message.id.to_string(),
        kind: entry.kind.name().to_owned(),
        user: UserName { workspace, user: message.sender }.to_string(),
    })
}

impl Command {
    pub(super) fn announce(name: Name, epoch: &str, entry: &Entry) -> Result<Self, serde_json::Error> {
        Ok(Self::Announce(node::Announce {
            channel: name.to_string(),
            epoch: epoch.to_owned(),
            publication: publication(name.workspace, entry)?,
        }))
    }

    /// A change of a message whose stream on the bus is the bus's own.
    pub(super) fn publish(name: Name, entry: &Entry) -> Result<Self, serde_json::Error> {
        let told = publication(name.workspace, entry)?;
        let idempotency_key = format!("{}-{}", told.id, told.offset);
        Ok(Self::Publish { channel: name.to_string(), data: told.data, idempotency_key })
    }

    /// What a user's own devices are told of a membership.
    pub(super) fn membership(user: UserName, stream: Name, member: bool) -> Option<Self> {
        let data = json!({ "type": "membership", "channel": stream.channel, "stream": stream.to_string(), "member": member });
        let (channel, idempotency_key) = (user.personal(), String::new());
        Some(Self::Publish { channel, data: to_raw_value(&data).ok()?, idempotency_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Message;

    fn entry(kind: EntryKind, edited_at: UnixMs, deleted_at: UnixMs) -> Entry {
        let body = RawValue::from_string(r#"{"text": "hi"}"#.to_owned()).unwrap();
        let body = if deleted_at > 0 { RawValue::from_string("null".to_owned()).unwrap() } else { body };
        let message = Message {
            id: Id(7301),
            channel: Id(2),
            offset: 4,
            sender: Id(12),
            key: "k1".to_owned(),
            body,
            media: String::new(),
            created_at: 1000,
            edited_at,
            deleted_at,
        };
        Entry { offset: 5, kind, message }
    }

    fn told(entry: &Entry) -> String {
        publication(Id(1), entry).unwrap().data.get().to_owned()
    }

    #[test]
    fn clients_are_told_of_messages_and_of_what_has_become_of_them() {
        let told_now = told(&entry(EntryKind::Posted, 0, 0));
        assert_eq!(
            told_now,
            r#"{"type":"message","id":"7301","sender":"12","key":"k1","body":{"text": "hi"},"created_at":1000}"#
        );
        let edited = told(&entry(EntryKind::Edited, 2000, 0));
        assert_eq!(
            edited,
            r#"{"type":"edited","id":"7301","sender":"12","body":{"text": "hi"},"edited_at":2000}"#
        );
        let deleted = told(&entry(EntryKind::Deleted, 2000, 3000));
        assert_eq!(deleted, r#"{"type":"deleted","id":"7301","sender":"12","deleted_at":3000}"#);
        let late = told(&entry(EntryKind::Posted, 0, 3000));
        assert!(late.contains(r#""body":null,"created_at":1000,"deleted_at":3000"#), "{late}");
    }

    #[test]
    fn an_entry_names_its_sender_as_the_bus_does() {
        let publication = publication(Id(1), &entry(EntryKind::Posted, 0, 0)).unwrap();
        assert_eq!((&*publication.user, &*publication.id, &*publication.kind), ("1.12", "7301", "message"));
        assert_eq!(publication.offset, 5, "of the entry, not of the message");
    }
}
