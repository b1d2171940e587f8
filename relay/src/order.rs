//! Channels in the order of their last use: push, remove and oldest, each in constant time.

const NONE: u32 = u32::MAX;

/// A doubly linked list over table indices. An index is in it at most once.
#[derive(Debug)]
pub(crate) struct Order {
    nodes: Vec<Node>,
    head: u32,
    tail: u32,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    before: u32,
    after: u32,
    linked: bool,
}

impl Order {
    pub(crate) const fn new() -> Self {
        Self { nodes: Vec::new(), head: NONE, tail: NONE, length: 0 }
    }

    /// Makes `index` the newest.
    pub(crate) fn renew(&mut self, index: u32) {
        self.remove(index);
        let at = index as usize;
        if at >= self.nodes.len() {
            self.nodes.resize(at + 1, Node { before: NONE, after: NONE, linked: false });
        }
        self.nodes[at] = Node { before: self.tail, after: NONE, linked: true };
        match self.tail {
            NONE => self.head = index,
            tail => self.nodes[tail as usize].after = index,
        }
        self.tail = index;
        self.length += 1;
    }

    /// Takes `index` out if it is in.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize).filter(|node| node.linked) else { return };
        node.linked = false;
        let Node { before, after, .. } = *node;
        match before {
            NONE => self.head = after,
            before => self.nodes[before as usize].after = after,
        }
        match after {
            NONE => self.tail = before,
            after => self.nodes[after as usize].before = before,
        }
        self.length -= 1;
        debug_assert!((self.length == 0) == (self.head == NONE), "an empty list has no head");
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.nodes.get(index as usize).is_some_and(|node| node.linked)
    }

    pub(crate) fn oldest(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) const fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_queue_from_which_anything_can_be_taken(
            steps in proptest::collection::vec((0u32..12, any::<bool>()), 0..200)
        ) {
            let (mut order, mut model) = (Order::new(), VecDeque::new());
            for (index, renew) in steps {
                model.retain(|other| *other != index);
                if renew {
                    order.renew(index);
                    model.push_back(index);
                } else {
                    order.remove(index);
                }
                prop_assert_eq!(order.oldest(), model.front().copied());
                prop_assert_eq!(order.len(), model.len());
                prop_assert!((0..12).all(|index| order.contains(index) == model.contains(&index)));
            }
        }
    }
}
