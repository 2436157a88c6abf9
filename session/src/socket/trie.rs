//! Who subscribed to which prefix.

use slab::Slab;

/// A set of (topic, key) pairs that finds all keys whose topic is a prefix of a given message.
///
/// A radix trie in one slab: a node is a run of bytes, so memory grows with the topics' own length, and nothing is
/// recursive, so no set of topics, however deep, can exhaust the stack.
#[derive(Debug)]
pub(crate) struct Trie<K> {
    nodes: Slab<Node<K>>,
    root: usize,
}

#[derive(Debug)]
struct Node<K> {
    /// The bytes between the parent and here; empty for the root only.
    run: Box<[u8]>,
    keys: Vec<K>,
    /// Sorted by the first byte of the child's run.
    children: Vec<(u8, usize)>,
}

/// What [`Trie::add`] changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// The pair was there already.
    Nothing,
    /// Nobody else had this topic.
    First,
    /// Others have this topic too.
    Another,
}

/// What [`Trie::remove`] changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// The pair was not there.
    Nothing,
    /// Nobody has this topic any more.
    Last,
    /// Others still have this topic.
    OneOfMany,
}

impl<K> Node<K> {
    fn new(run: &[u8]) -> Self {
        Node {
            run: run.into(),
            keys: Vec::new(),
            children: Vec::new(),
        }
    }

    fn child(&self, byte: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&byte, |&(first, _)| first)
    }
}

impl<K> Default for Trie<K> {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new(&[]));
        Trie { nodes, root }
    }
}

impl<K: Copy + PartialEq> Trie<K> {
    /// Adds a pair.
    pub(crate) fn add(&mut self, topic: &[u8], key: K) -> Added {
        let node = self.node_for(topic);
        let keys = &mut self.nodes[node].keys;
        if keys.contains(&key) {
            return Added::Nothing;
        }
        keys.push(key);
        if keys.len() == 1 {
            Added::First
        } else {
            Added::Another
        }
    }

    /// Removes a pair.
    pub(crate) fn remove(&mut self, topic: &[u8], key: K) -> Removed {
        let Some(path) = self.path_to(topic) else {
            return Removed::Nothing;
        };
        let node = path[path.len() - 1];
        let keys = &mut self.nodes[node].keys;
        let Some(index) = keys.iter().position(|known| *known == key) else {
            return Removed::Nothing;
        };
        keys.swap_remove(index);
        if !keys.is_empty() {
            return Removed::OneOfMany;
        }
        self.prune(&path);
        Removed::Last
    }

    /// Calls `visit` for every pair whose topic is a prefix of `message`; a key with several such topics is
    /// visited several times.
    pub(crate) fn visit_matches(&self, message: &[u8], mut visit: impl FnMut(K)) {
        let mut node = &self.nodes[self.root];
        let mut rest = message;
        loop {
            node.keys.iter().copied().for_each(&mut visit);
            let Some(&byte) = rest.first() else { return };
            let Ok(index) = node.child(byte) else { return };
            node = &self.nodes[node.children[index].1];
            let Some(after) = rest.strip_prefix(&*node.run) else {
                return;
            };
            rest = after;
        }
    }

    /// Whether any topic is a prefix of `message`.
    pub(crate) fn matches(&self, message: &[u8]) -> bool {
        let mut found = false;
        self.visit_matches(message, |_| found = true);
        found
    }

    /// The node for exactly this topic, made if it is not there.
    fn node_for(&mut self, topic: &[u8]) -> usize {
        let mut node = self.root;
        let mut rest = topic;
        while let Some(&byte) = rest.first() {
            match self.nodes[node].child(byte) {
                Err(index) => {
                    let leaf = self.nodes.insert(Node::new(rest));
                    self.nodes[node].children.insert(index, (byte, leaf));
                    return leaf;
                }
                Ok(index) => {
                    let child = self.nodes[node].children[index].1;
                    let shared = common_prefix(&self.nodes[child].run, rest);
                    if shared < self.nodes[child].run.len() {
                        self.split(child, shared);
                    }
                    node = child;
                    rest = &rest[shared..];
                }
            }
        }
        node
    }

    /// Cuts a node after `at` bytes; it keeps its number and its front, a new child gets everything else.
    fn split(&mut self, node: usize, at: usize) {
        let (front, back) = self.nodes[node].run.split_at(at);
        let (front, lower_run): (Box<[u8]>, Box<[u8]>) = (front.into(), back.into());
        let first = lower_run[0];
        let keys = std::mem::take(&mut self.nodes[node].keys);
        let children = std::mem::take(&mut self.nodes[node].children);
        let lower = self.nodes.insert(Node {
            run: lower_run,
            keys,
            children,
        });
        self.nodes[node].run = front;
        self.nodes[node].children.push((first, lower));
    }

    /// All nodes from the root to exactly this topic.
    fn path_to(&self, topic: &[u8]) -> Option<Vec<usize>> {
        let mut path = vec![self.root];
        let mut node = self.root;
        let mut rest = topic;
        while let Some(&byte) = rest.first() {
            let index = self.nodes[node].child(byte).ok()?;
            node = self.nodes[node].children[index].1;
            rest = rest.strip_prefix(&*self.nodes[node].run)?;
            path.push(node);
        }
        Some(path)
    }

    /// Takes out the last node of a path if nothing needs it, and joins runs that no longer branch.
    fn prune(&mut self, path: &[usize]) {
        let &[.., parent, node] = path else { return };
        match self.nodes[node].children.len() {
            0 => {
                let first = self.nodes[node].run[0];
                self.nodes.remove(node);
                if let Ok(index) = self.nodes[parent].child(first) {
                    self.nodes[parent].children.remove(index);
                }
                if parent != self.root {
                    self.join_only_child(parent);
                }
            }
            _ => self.join_only_child(node),
        }
    }

    /// Merges a node without keys with its only child.
    fn join_only_child(&mut self, node: usize) {
        if !self.nodes[node].keys.is_empty() || self.nodes[node].children.len() != 1 {
            return;
        }
        let child = self.nodes.remove(self.nodes[node].children[0].1);
        let upper = &mut self.nodes[node];
        upper.run = [&*upper.run, &*child.run].concat().into();
        upper.keys = child.keys;
        upper.children = child.children;
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn matches(trie: &Trie<u8>, message: &[u8]) -> BTreeSet<u8> {
        let mut found = BTreeSet::new();
        trie.visit_matches(message, |key| {
            found.insert(key);
        });
        found
    }

    #[test]
    fn prefixes_match_and_the_empty_topic_matches_all() {
        let mut trie = Trie::default();
        assert_eq!(trie.add(b"weather.eu", 1), Added::First);
        assert_eq!(trie.add(b"weather", 2), Added::First);
        assert_eq!(trie.add(b"weather", 1), Added::Another);
        assert_eq!(trie.add(b"weather", 1), Added::Nothing);
        assert_eq!(trie.add(b"", 3), Added::First);
        assert_eq!(matches(&trie, b"weather.eu.ch"), BTreeSet::from([1, 2, 3]));
        assert_eq!(matches(&trie, b"weather.us"), BTreeSet::from([1, 2, 3]));
        assert_eq!(matches(&trie, b"weath"), BTreeSet::from([3]));
        assert_eq!(trie.remove(b"weather", 1), Removed::OneOfMany);
        assert_eq!(trie.remove(b"weather", 2), Removed::Last);
        assert_eq!(trie.remove(b"weather", 2), Removed::Nothing);
        assert_eq!(matches(&trie, b"weather.us"), BTreeSet::from([3]));
    }

    #[test]
    fn a_deep_chain_of_topics_is_built_and_dropped() {
        let mut trie = Trie::default();
        let topic = vec![b'a'; 2_000];
        for end in 0..topic.len() {
            trie.add(&topic[..end], 0);
        }
        assert!(trie.matches(&topic));
        drop(trie);
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_pairs(
            steps in prop::collection::vec((any::<bool>(), prop::collection::vec(0_u8..3, 0..6), 0_u8..4), 0..200),
            messages in prop::collection::vec(prop::collection::vec(0_u8..3, 0..8), 0..20),
        ) {
            let mut trie = Trie::default();
            let mut model = BTreeSet::new();
            for (add, topic, key) in steps {
                let others = |model: &BTreeSet<(Vec<u8>, u8)>| model.iter().any(|(known, _)| *known == topic);
                if add {
                    let had = others(&model);
                    let new = model.insert((topic.clone(), key));
                    let expected = if !new { Added::Nothing } else if had { Added::Another } else { Added::First };
                    prop_assert_eq!(trie.add(&topic, key), expected);
                } else {
                    let had = model.remove(&(topic.clone(), key));
                    let expected = if !had {
                        Removed::Nothing
                    } else if others(&model) {
                        Removed::OneOfMany
                    } else {
                        Removed::Last
                    };
                    prop_assert_eq!(trie.remove(&topic, key), expected);
                }
            }
            for message in messages {
                let expected: BTreeSet<u8> =
                    model.iter().filter(|(topic, _)| message.starts_with(topic)).map(|(_, key)| *key).collect();
                prop_assert_eq!(matches(&trie, &message), expected);
            }
            for (topic, key) in model {
                trie.remove(&topic, key);
            }
            prop_assert_eq!(trie.nodes.len(), 1);
            prop_assert!(!trie.matches(b""));
        }
    }
}
