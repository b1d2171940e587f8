//! What channels and users of the model are called on the bus (relay/NODES.md).

use std::fmt;

use crate::model::{Channel, Delivery, Id};

/// What is told on a channel of the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// The stream of a channel whose messages are stored first.
    Chat,
    /// The same of one whose messages are stored at about the same time.
    Fast,
    /// A channel's events that are not stored.
    Live,
}

/// A channel of the model on the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    /// What is told there.
    pub family: Family,
    /// The tenant.
    pub workspace: Id,
    /// The channel.
    pub channel: Id,
}

/// A user on the bus: the `sub` of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserName {
    /// The tenant.
    pub workspace: Id,
    /// Who.
    pub user: Id,
}

impl Family {
    const ALL: [Self; 3] = [Self::Chat, Self::Fast, Self::Live];

    /// The namespace of the relays.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Fast => "fast",
            Self::Live => "live",
        }
    }
}

impl Name {
    /// Where a channel's messages are told.
    pub fn stream(channel: &Channel) -> Self {
        let family = match channel.delivery {
            Delivery::Persist => Family::Chat,
            Delivery::Fast => Family::Fast,
        };
        Self { family, workspace: channel.workspace, channel: channel.id }
    }

    /// Where the messages of a channel are told that are stored at about the same time.
    pub const fn fast(workspace: Id, channel: Id) -> Self {
        Self { family: Family::Fast, workspace, channel }
    }

    /// Where its events are.
    pub const fn live(channel: &Channel) -> Self {
        Self { family: Family::Live, workspace: channel.workspace, channel: channel.id }
    }

    /// `None`: it is not the name of a channel of the model.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, rest) = text.split_once(':')?;
        let family = Family::ALL.into_iter().find(|family| family.namespace() == namespace)?;
        let (workspace, channel) = pair(rest)?;
        Some(Self { family, workspace, channel })
    }
}

impl UserName {
    /// `None`: it is nobody's.
    pub fn parse(text: &str) -> Option<Self> {
        let (workspace, user) = pair(text)?;
        Some(Self { workspace, user })
    }

    /// The user's own channel on the bus.
    pub fn personal(self) -> String {
        format!("user:#{self}")
    }
}

fn pair(text: &str) -> Option<(Id, Id)> {
    let (one, other) = text.split_once('.')?;
    Some((one.parse().ok()?, other.parse().ok()?))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}.{}", self.family.namespace(), self.workspace, self.channel)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.workspace, self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_nothing_else_is_a_name() {
        for text in ["chat:1.2", "fast:7.12345678901234", "live:3.4"] {
            assert_eq!(Name::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "chat:",
            "chat:1",
            "chat:1.",
            "chat:1.2.3",
            "chat:01.2",
            "chat:1.-2",
            "user:1.2",
            "chat:#1.2",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
        assert_eq!(UserName::parse("1.2").unwrap().personal(), "user:#1.2");
        assert_eq!(UserName::parse("1"), None);
    }
}
