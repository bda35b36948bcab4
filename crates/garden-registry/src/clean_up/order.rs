// Why: docs/decisions/71-the-tag-comes-last.md

use std::collections::BTreeSet;

use garden_build_core::Digest;

use super::deletion::Deletion;
use super::plan::CleanUpPlan;

impl CleanUpPlan {
    /// Returns the deletions in groups: first what nothing refers to, at last what everything refers to. So no tag
    /// ever stands for an index whose parts are gone, wherever the clean-up is interrupted.
    pub fn in_order(&self) -> Vec<Vec<&Deletion>> {
        let mut waiting: Vec<&Deletion> = self.deletions.iter().collect();
        let mut groups = Vec::new();
        while !waiting.is_empty() {
            let left: BTreeSet<(&str, Digest)> =
                waiting.iter().map(|deletion| (deletion.repository.as_str(), deletion.digest)).collect();
            let is_free = |deletion: &&Deletion| {
                deletion.after.iter().all(|other| !left.contains(&(deletion.repository.as_str(), *other)))
            };
            let (free, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
            // A signature that lies in the index which it signs makes a circle, of which any part may be first.
            let (group, rest) = if free.is_empty() { (others, Vec::new()) } else { (free, others) };
            groups.push(group);
            waiting = rest;
        }
        groups
    }
}
