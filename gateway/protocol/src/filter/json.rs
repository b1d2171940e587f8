//! Filters as JSON clients write them.

use serde::Deserialize;

use super::Written;

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Node {
    op: Option<String>,
    key: Option<String>,
    cmp: Option<String>,
    val: Option<String>,
    vals: Option<Vec<String>>,
    nodes: Option<Vec<Self>>,
}

impl From<Node> for Written {
    fn from(node: Node) -> Self {
        Self {
            op: node.op.unwrap_or_default(),
            key: node.key.unwrap_or_default(),
            cmp: node.cmp.unwrap_or_default(),
            val: node.val.unwrap_or_default(),
            vals: node.vals.unwrap_or_default(),
            nodes: node.nodes.unwrap_or_default().into_iter().map(Self::from).collect(),
        }
    }
}

/// Recursion is bounded by the parser (and by the length of what is read).
pub(super) fn read(written: &[u8]) -> Option<Written> {
    serde_json::from_slice::<Node>(written).ok().map(Written::from)
}
