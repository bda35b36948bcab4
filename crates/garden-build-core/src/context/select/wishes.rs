//! The paths and patterns that a build reads, as a tree: however many there are, an entry is compared with few of them.

use std::collections::HashMap;

use super::pattern::Pattern;
use super::sieve::Verdict;
use crate::context::go_path;

/// Paths and patterns. What one of them matches is wanted, with everything below.
///
/// The nodes of the tree lie in a list, so that no depth of directories is a depth of calls.
#[derive(Clone, Debug)]
pub(in crate::context) struct Wishes {
    nodes: Vec<Node>,
}

/// What is wanted in one directory, or in all directories that the same pattern matches.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Everything here and below is wanted.
    is_wanted: bool,
    /// What is wanted by name.
    literal: HashMap<Vec<u8>, usize>,
    /// What is wanted by a pattern with `*` and `?`, by what stands before these.
    wild: HashMap<Vec<u8>, Vec<(String, usize)>>,
    /// Patterns with `**`, for whole paths: it may stand for any number of directories.
    deep: Vec<Pattern>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Wishes {
    /// Adds a clean relative path, or a pattern in Go's syntax.
    ///
    /// # Errors
    /// With the reason if everything is wanted because of it, or may be.
    pub(super) fn add(&mut self, source: &str) -> Result<(), String> {
        if source == "." {
            return Err("all of it is read".to_owned());
        }
        if source.contains('\\') {
            return Err(format!("`{source}` contains a backslash, which not all builders take for the same"));
        }
        let mut at = 0;
        for part in source.split('/') {
            if let Some((start, _)) = part.split_once('[')
                && !start.contains("**")
            {
                // Builders differ in what they make of a bracket, and some let it match a slash: what begins as the
                // part does is wanted.
                at = self.wild(at, &format!("{start}*"));
                break;
            }
            if part.contains("**") {
                return match Pattern::compile(source) {
                    Ok(Some(pattern)) if !pattern.is_exception && source.trim() == source => {
                        self.nodes[at].deep.push(pattern);
                        Ok(())
                    }
                    _ if at == 0 => Err(format!("`{source}` is an unusual pattern")),
                    _ => {
                        self.nodes[at].is_wanted = true;
                        Ok(())
                    }
                };
            }
            at = if is_wild(part) { self.wild(at, part) } else { self.literal(at, part) };
        }
        self.nodes[at].is_wanted = true;
        Ok(())
    }

    fn literal(&mut self, at: usize, name: &str) -> usize {
        let next = self.nodes.len();
        let node = *self.nodes[at].literal.entry(name.as_bytes().to_vec()).or_insert(next);
        if node == next {
            self.nodes.push(Node::default());
        }
        node
    }

    fn wild(&mut self, at: usize, pattern: &str) -> usize {
        let next = self.nodes.len();
        let start = pattern.find(['*', '?']).map_or(pattern, |end| &pattern[..end]);
        let alike = self.nodes[at].wild.entry(start.as_bytes().to_vec()).or_default();
        if let Some((_, node)) = alike.iter().find(|(other, _)| other == pattern) {
            return *node;
        }
        alike.push((pattern.to_owned(), next));
        self.nodes.push(Node::default());
        next
    }

    /// Decides about `path`, which is taken for a directory.
    pub(super) fn verdict(&self, path: &[u8]) -> Verdict {
        let mut at = vec![0];
        let mut may_be_deeper = false;
        for name in path.split(|byte| *byte == b'/') {
            let mut next = Vec::new();
            for node in at.into_iter().map(|node| &self.nodes[node]) {
                if !node.deep.is_empty() {
                    if node.deep.iter().any(|pattern| matches_above(pattern, path)) {
                        return Verdict::Keep;
                    }
                    may_be_deeper = true;
                }
                node.matching(name, &mut next);
            }
            if next.iter().any(|node| self.nodes[*node].is_wanted) {
                return Verdict::Keep;
            }
            at = next;
            if at.is_empty() {
                break;
            }
        }
        if may_be_deeper || !at.is_empty() { Verdict::Search } else { Verdict::Drop }
    }
}

impl Node {
    /// Adds to `next` what an entry called `name` leads to.
    fn matching(&self, name: &[u8], next: &mut Vec<usize>) {
        next.extend(self.literal.get(name));
        if self.wild.is_empty() {
            return;
        }
        for alike in (0..=name.len()).filter_map(|end| self.wild.get(&name[..end])) {
            let matching = alike.iter().filter(|(pattern, _)| go_path::matches(pattern, name) == Ok(true));
            next.extend(matching.map(|(_, node)| node));
        }
    }
}

/// Whether `pattern` matches `path` or a directory above it.
fn matches_above(pattern: &Pattern, path: &[u8]) -> bool {
    let mut ends = (0..=path.len()).filter(|end| path.get(*end).is_none_or(|byte| *byte == b'/'));
    ends.any(|end| pattern.matches(&path[..end]))
}

pub(super) fn is_wild(part: &str) -> bool {
    part.contains(['*', '?', '['])
}
