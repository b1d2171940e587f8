//! Channel names: `namespace:rest`, or a bare name in the default namespace; with marks for private and user-limited ones.
//!
//! Owns where a name's parts begin and end. Never knows options.

use serde::{Deserialize, Serialize};

/// The marks inside channel names. An empty mark turns what it is for off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Boundaries {
    /// Ends the namespace.
    pub namespace: String,
    /// Begins the list of users of a user-limited channel.
    pub user: String,
    /// Stands between those users.
    pub separator: String,
    /// Begins the name of a channel that is entered with a subscription token and not otherwise.
    pub private: String,
}

impl Default for Boundaries {
    /// The defaults of the ecosystem whose protocol this is.
    fn default() -> Self {
        Self {
            namespace: ":".to_owned(),
            user: "#".to_owned(),
            separator: ",".to_owned(),
            private: "$".to_owned(),
        }
    }
}

impl Boundaries {
    /// The namespace a channel belongs to (empty is the default one) and what follows it (without a namespace, the whole name).
    pub fn split<'a>(&self, channel: &'a str) -> (&'a str, &'a str) {
        if self.namespace.is_empty() {
            return ("", channel);
        }
        let public = channel.strip_prefix(self.private.as_str()).unwrap_or(channel);
        public.split_once(self.namespace.as_str()).unwrap_or(("", channel))
    }

    /// Whether a channel is entered with a subscription token and not otherwise.
    pub fn is_private(&self, channel: &str) -> bool {
        !self.private.is_empty() && channel.starts_with(self.private.as_str())
    }

    /// Whether a channel names the users that may enter it (where its namespace has such channels).
    pub fn is_user_limited(&self, channel: &str) -> bool {
        !self.user.is_empty() && channel.contains(self.user.as_str())
    }

    /// Whether `user` is one of those that a user-limited channel names: `dialog#42,43`. Nobody anonymous ever is.
    pub fn names_user(&self, channel: &str, user: &str) -> bool {
        if self.user.is_empty() || user.is_empty() {
            return false;
        }
        let Some((_, users)) = channel.rsplit_once(self.user.as_str()) else { return false };
        if self.separator.is_empty() {
            return users == user;
        }
        users.split(self.separator.as_str()).any(|named| named == user)
    }

    /// The personal channel of a user, in a namespace or (empty) in none.
    pub fn personal(&self, namespace: &str, user: &str) -> String {
        let boundary = if namespace.is_empty() { "" } else { &self.namespace };
        format!("{namespace}{boundary}{}{user}", self.user)
    }
}

/// Whether a name may be used where no pattern says more: not empty, not over `length_max` bytes, printable ASCII only.
pub fn valid(channel: &str, length_max: usize) -> bool {
    !channel.is_empty() && channel.len() <= length_max && channel.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(channel: &str) -> String {
        Boundaries::default().split(channel).0.to_owned()
    }

    #[test]
    fn the_first_colon_ends_the_namespace() {
        assert_eq!(namespace("chat:room:1"), "chat");
        assert_eq!(namespace("news"), "");
        assert_eq!(namespace(":odd"), "");
        assert_eq!(Boundaries::default().split("chat:room:1").1, "room:1");
        assert_eq!(Boundaries::default().split("$news").1, "$news");
    }

    #[test]
    fn a_private_channel_is_in_the_namespace_behind_its_prefix() {
        let marks = Boundaries::default();
        assert_eq!(marks.split("$chat:1"), ("chat", "1"));
        assert!(marks.is_private("$chat:1") && !marks.is_private("chat:$1"));
        let off = Boundaries { private: String::new(), ..marks };
        assert_eq!(off.split("$chat:1"), ("$chat", "1"));
        assert!(!off.is_private("$chat:1"));
    }

    #[test]
    fn a_user_limited_channel_is_for_the_users_it_names() {
        let marks = Boundaries::default();
        assert!(marks.is_user_limited("dialog#42,43") && !marks.is_user_limited("dialog"));
        assert!(marks.names_user("dialog#42,43", "42") && marks.names_user("dialog#42,43", "43"));
        assert!(!marks.names_user("dialog#42,43", "4") && !marks.names_user("dialog#42,43", "42,43"));
        // Only what follows the last mark is the list.
        assert!(marks.names_user("a#42#43", "43") && !marks.names_user("a#42#43", "42"));
        assert!(!marks.names_user("a#", "") && !marks.names_user("a#,42", ""));
        let one = Boundaries { separator: String::new(), ..marks };
        assert!(one.names_user("dialog#42,43", "42,43") && !one.names_user("dialog#42,43", "42"));
    }

    #[test]
    fn a_personal_channel_names_its_user() {
        let marks = Boundaries::default();
        assert_eq!(marks.personal("", "42"), "#42");
        assert_eq!(marks.personal("own", "42"), "own:#42");
        assert!(marks.names_user(&marks.personal("own", "42"), "42"));
    }

    #[test]
    fn names_are_bounded_printable_ascii() {
        assert!(valid("chat:1", 255));
        assert!(!valid("", 255));
        assert!(!valid("ab", 1));
        assert!(!valid("line\nbreak", 255));
        assert!(!valid("größe", 255));
    }
}
