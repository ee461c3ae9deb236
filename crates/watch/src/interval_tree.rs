//! Which ranges contain a key? A balanced search tree over the ranges, in order of start and limit; each node also
//! knows the greatest limit below it, so that whole subtrees of ranges that end too early are passed over.
//!
//! Balanced by height (Adelson-Velsky and Landis 1962), because clients choose the ranges: no choice of theirs makes it
//! deep, and recursion goes no deeper than 1.45 times the logarithm of the number of ranges.

use crate::watched_keys::RangeLimit;
use crate::watcher::WatcherKey;
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeSet;

#[derive(Clone, Debug, Default)]
pub(crate) struct IntervalTree {
    root: Link,
}

type Link = Option<Box<Node>>;

#[derive(Clone, Debug)]
struct Node {
    start: Bytes,
    limit: RangeLimit,
    /// Not empty.
    watchers: BTreeSet<WatcherKey>,
    /// The greatest limit of this node and all below it.
    greatest_limit: RangeLimit,
    height: u8,
    left: Link,
    right: Link,
}

impl IntervalTree {
    pub(crate) fn insert(&mut self, start: &Bytes, limit: &RangeLimit, watcher: WatcherKey) {
        self.root = Some(inserted(self.root.take(), start, limit, watcher));
    }

    pub(crate) fn remove(&mut self, start: &Bytes, limit: &RangeLimit, watcher: WatcherKey) {
        self.root = removed(self.root.take(), start, limit, watcher);
    }

    /// Adds all watchers of ranges that contain `key` to `found`; returns how many nodes were looked at.
    pub(crate) fn find(&self, key: &[u8], found: &mut Vec<WatcherKey>) -> u64 {
        find_below(&self.root, key, found)
    }

    #[cfg(test)]
    fn height(&self) -> u8 {
        height(&self.root)
    }
}

fn find_below(link: &Link, key: &[u8], found: &mut Vec<WatcherKey>) -> u64 {
    let Some(node) = link else { return 0 };
    if !node.greatest_limit.admits(key) {
        return 1;
    }
    let mut nodes = 1 + find_below(&node.left, key, found);
    // Everything to the right starts even later.
    if &node.start[..] <= key {
        if node.limit.admits(key) {
            found.extend(&node.watchers);
        }
        nodes += find_below(&node.right, key, found);
    }
    nodes
}

fn inserted(link: Link, start: &Bytes, limit: &RangeLimit, watcher: WatcherKey) -> Box<Node> {
    let Some(mut node) = link else {
        return Box::new(Node {
            start: start.clone(),
            limit: limit.clone(),
            watchers: BTreeSet::from([watcher]),
            greatest_limit: limit.clone(),
            height: 1,
            left: None,
            right: None,
        });
    };
    match node.order_of(start, limit) {
        Ordering::Less => node.left = Some(inserted(node.left.take(), start, limit, watcher)),
        Ordering::Greater => node.right = Some(inserted(node.right.take(), start, limit, watcher)),
        Ordering::Equal => {
            node.watchers.insert(watcher);
            return node;
        }
    }
    balanced(node)
}

fn removed(link: Link, start: &Bytes, limit: &RangeLimit, watcher: WatcherKey) -> Link {
    let mut node = link?;
    match node.order_of(start, limit) {
        Ordering::Less => node.left = removed(node.left.take(), start, limit, watcher),
        Ordering::Greater => node.right = removed(node.right.take(), start, limit, watcher),
        Ordering::Equal => {
            node.watchers.remove(&watcher);
            if node.watchers.is_empty() {
                return joined(node.left.take(), node.right.take());
            }
        }
    }
    Some(balanced(node))
}

/// One tree of two whose heights differ by at most one, everything in `left` before everything in `right`.
fn joined(left: Link, right: Link) -> Link {
    let Some(right) = right else { return left };
    let (mut first, rest) = without_first(right);
    first.left = left;
    first.right = rest;
    Some(balanced(first))
}

fn without_first(mut node: Box<Node>) -> (Box<Node>, Link) {
    match node.left.take() {
        None => {
            let rest = node.right.take();
            (node, rest)
        }
        Some(left) => {
            let (first, rest) = without_first(left);
            node.left = rest;
            (first, Some(balanced(node)))
        }
    }
}

fn height(link: &Link) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

impl Node {
    /// Where the range lies, seen from this node.
    fn order_of(&self, start: &Bytes, limit: &RangeLimit) -> Ordering {
        start.cmp(&self.start).then_with(|| limit.cmp(&self.limit))
    }

    fn summarize(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
        let below = self.left.iter().chain(&self.right).map(|node| &node.greatest_limit).max();
        self.greatest_limit = below.map_or(&self.limit, |limit| limit.max(&self.limit)).clone();
    }
}

/// Restores the balance of a node whose subtrees are balanced and differ by at most two.
fn balanced(mut node: Box<Node>) -> Box<Node> {
    let (left, right) = (height(&node.left), height(&node.right));
    if left > right + 1 {
        node.left = node
            .left
            .take()
            .map(|child| if height(&child.right) > height(&child.left) { rotated_left(child) } else { child });
        return rotated_right(node);
    }
    if right > left + 1 {
        node.right = node
            .right
            .take()
            .map(|child| if height(&child.left) > height(&child.right) { rotated_right(child) } else { child });
        return rotated_left(node);
    }
    node.summarize();
    node
}

/// The left child becomes the parent; without one nothing changes.
fn rotated_right(mut node: Box<Node>) -> Box<Node> {
    let Some(mut child) = node.left.take() else { return node };
    node.left = child.right.take();
    node.summarize();
    child.right = Some(node);
    child.summarize();
    child
}

/// The right child becomes the parent; without one nothing changes.
fn rotated_left(mut node: Box<Node>) -> Box<Node> {
    let Some(mut child) = node.right.take() else { return node };
    node.right = child.left.take();
    node.summarize();
    child.left = Some(node);
    child.summarize();
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u8, limit: u8) -> (Bytes, RangeLimit) {
        let end = if limit == u8::MAX { RangeLimit::Unlimited } else { RangeLimit::Before(Bytes::from(vec![limit])) };
        (Bytes::from(vec![start]), end)
    }

    fn assert_balanced(link: &Link) -> RangeLimit {
        let Some(node) = link else { return RangeLimit::Before(Bytes::new()) };
        assert!(height(&node.left).abs_diff(height(&node.right)) <= 1, "unbalanced");
        let greatest = assert_balanced(&node.left).max(assert_balanced(&node.right)).max(node.limit.clone());
        assert_eq!(node.greatest_limit, greatest);
        greatest
    }

    #[test]
    fn finds_what_a_list_of_ranges_finds_while_ranges_come_and_go() {
        let mut random = 7u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let (mut tree, mut list) = (IntervalTree::default(), Vec::<(u8, u8, WatcherKey)>::new());
        for number in 0..4000 {
            if draw(3) == 0 && !list.is_empty() {
                let (start, limit, watcher) = list.swap_remove(draw(list.len() as u64) as usize);
                let (start, limit) = range(start, limit);
                tree.remove(&start, &limit, watcher);
            } else {
                let start = draw(60) as u8;
                let limit = if draw(9) == 0 { u8::MAX } else { start + 1 + draw(20) as u8 };
                list.push((start, limit, WatcherKey(number)));
                tree.insert(&range(start, limit).0, &range(start, limit).1, WatcherKey(number));
            }
            assert_balanced(&tree.root);
            let key = [draw(90) as u8];
            let mut found = Vec::new();
            tree.find(&key, &mut found);
            found.sort_unstable();
            let mut expected: Vec<WatcherKey> = list
                .iter()
                .filter(|(start, limit, _)| *start <= key[0] && (key[0] < *limit || *limit == u8::MAX))
                .map(|(_, _, watcher)| *watcher)
                .collect();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
        for (start, limit, watcher) in list {
            tree.remove(&range(start, limit).0, &range(start, limit).1, watcher);
        }
        assert_eq!(tree.height(), 0);
    }

    #[test]
    fn ranges_inserted_in_order_do_not_make_it_deep() {
        let mut tree = IntervalTree::default();
        for number in 0..20_000u32 {
            let start = Bytes::copy_from_slice(&number.to_be_bytes());
            let limit = RangeLimit::Before(Bytes::copy_from_slice(&(number + 1).to_be_bytes()));
            tree.insert(&start, &limit, WatcherKey(u64::from(number)));
        }
        assert!(tree.height() <= 21, "{}", tree.height());
        let mut found = Vec::new();
        assert!(tree.find(&12_345u32.to_be_bytes(), &mut found) <= 50);
        assert_eq!(found, [WatcherKey(12_345)]);
    }
}
