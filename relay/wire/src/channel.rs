//! Channel names: `namespace:rest`, or a bare name in the default namespace.

/// The separator between namespace and the rest.
pub const NAMESPACE_BOUNDARY: char = ':';

/// The namespace a channel belongs to; empty is the default one.
pub fn namespace(channel: &str) -> &str {
    channel.split_once(NAMESPACE_BOUNDARY).map_or("", |(namespace, _)| namespace)
}

/// Whether a name may be used at all: not empty, not over `length_max` bytes, printable ASCII only.
pub fn valid(channel: &str, length_max: usize) -> bool {
    !channel.is_empty() && channel.len() <= length_max && channel.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_ends_the_namespace() {
        assert_eq!(namespace("chat:room:1"), "chat");
        assert_eq!(namespace("news"), "");
        assert_eq!(namespace(":odd"), "");
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
