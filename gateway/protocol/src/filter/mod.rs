//! Tags filters: what of a channel's publications a subscription wants, decided by their tags.
//!
//! Owns reading a filter in both encodings, its bounds and its evaluation. Filters save bandwidth; they are no access control.

mod decimal;
mod json;
mod protobuf;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use wire::tags::Tags;

use crate::{
    client::encoding::Encoding,
    limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX},
};

/// A filter that makes sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(Node);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Not(Box<Self>),
    Tag { name: Box<str>, test: Test },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    Is(Box<str>),
    IsNot(Box<str>),
    In(Box<[Box<str>]>),
    NotIn(Box<[Box<str>]>),
    Exists,
    Lacks,
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    /// A decimal number on the right side of the tag's.
    Number(Order, Box<str>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// A node as both encodings write it; empty is absent.
#[derive(Default)]
struct Written {
    op: String,
    key: String,
    cmp: String,
    val: String,
    vals: Vec<String>,
    nodes: Vec<Self>,
}

impl Filter {
    /// Reads a filter as a `subscribe` of this encoding carries it. `None`: it makes no sense, or is over a bound.
    pub fn read(encoding: Encoding, written: &[u8]) -> Option<Self> {
        if written.len() > FILTER_BYTES_MAX {
            return None;
        }
        let root = match encoding {
            Encoding::Json => json::read(written)?,
            Encoding::Protobuf => protobuf::read(written)?,
        };
        let mut nodes = 0;
        root.checked(1, &mut nodes).map(Self)
    }

    /// Whether a publication with these tags is wanted.
    pub fn matches(&self, tags: Tags<'_>) -> bool {
        self.0.matches(tags)
    }
}

impl Node {
    fn matches(&self, tags: Tags<'_>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(tags)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(tags)),
            Self::Not(node) => !node.matches(tags),
            Self::Tag { name, test } => test.holds(tags.get(name)),
        }
    }
}

impl Test {
    /// The rules of the ecosystem's server: an absent tag is like no other value, and is in no list.
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |values: &[Box<str>]| values.iter().any(|other| **other == *value.unwrap_or_default());
        match self {
            Self::Is(other) => value == Some(&**other),
            Self::IsNot(other) => value != Some(&**other),
            Self::In(values) => listed(values),
            Self::NotIn(values) => !listed(values),
            Self::Exists => value.is_some(),
            Self::Lacks => value.is_none(),
            Self::StartsWith(other) => value.is_some_and(|value| value.starts_with(&**other)),
            Self::EndsWith(other) => value.is_some_and(|value| value.ends_with(&**other)),
            Self::Contains(other) => value.is_some_and(|value| value.contains(&**other)),
            Self::Number(order, other) => {
                value.and_then(|value| decimal::compare(value, other)).is_some_and(|found| order.is(found))
            }
        }
    }
}

impl Order {
    const fn is(self, found: Ordering) -> bool {
        match self {
            Self::Below => found.is_lt(),
            Self::AtMost => found.is_le(),
            Self::Above => found.is_gt(),
            Self::AtLeast => found.is_ge(),
        }
    }
}

impl Written {
    fn checked(self, depth: usize, nodes: &mut usize) -> Option<Node> {
        *nodes += 1;
        if depth > FILTER_DEPTH_MAX || *nodes > FILTER_NODES_MAX {
            return None;
        }
        let mut below = |children: Vec<Self>| -> Option<Box<[Node]>> {
            children.into_iter().map(|child| child.checked(depth + 1, nodes)).collect()
        };
        match self.op.as_str() {
            "" => self.tag(),
            "and" if !self.nodes.is_empty() => below(self.nodes).map(Node::All),
            "or" if !self.nodes.is_empty() => below(self.nodes).map(Node::Any),
            "not" if self.nodes.len() == 1 => {
                let only = below(self.nodes)?.into_iter().next()?;
                Some(Node::Not(Box::new(only)))
            }
            _ => None,
        }
    }

    fn tag(self) -> Option<Node> {
        let Self { key, cmp, val, vals, .. } = self;
        let (one, several) = (!val.is_empty(), !vals.is_empty());
        let shape = match cmp.as_str() {
            "in" | "nin" => several && !one && vals.len() <= FILTER_VALUES_MAX && !key.is_empty(),
            "ex" | "nex" => !several && !one,
            _ => one && !several && !key.is_empty(),
        };
        if !shape {
            return None;
        }
        let val: Box<str> = val.into();
        let list = || vals.into_iter().map(Box::from).collect();
        let test = match cmp.as_str() {
            "eq" => Test::Is(val),
            "neq" => Test::IsNot(val),
            "in" => Test::In(list()),
            "nin" => Test::NotIn(list()),
            "ex" => Test::Exists,
            "nex" => Test::Lacks,
            "sw" => Test::StartsWith(val),
            "ew" => Test::EndsWith(val),
            "ct" => Test::Contains(val),
            "lt" => Test::Number(Order::Below, val),
            "lte" => Test::Number(Order::AtMost, val),
            "gt" => Test::Number(Order::Above, val),
            "gte" => Test::Number(Order::AtLeast, val),
            _ => return None,
        };
        Some(Node::Tag { name: key.into(), test })
    }
}
