//! Which paths of a tree a build reaches through symbolic links: fsutil's `followlinks.go`.
//!
//! The daemon names the paths that COPY and ADD use, and only we can see which of them are links or match
//! something. The result becomes patterns to include. Those are text: where a link leads on that is not, or to what is not,
//! everything is included.

use std::collections::BTreeSet;

use garden_build_core::context::{PathBytes, go_path};

use super::{Source, SyncError};

/// Returns `paths`, cleaned, and where links in them lead; sorted, without those that lie below another.
/// `None` if everything is reached.
pub(super) fn follow(source: &dyn Source, paths: &[String]) -> Result<Option<Vec<String>>, SyncError> {
    let mut walk = Walk { source, reached: BTreeSet::new(), ways: Vec::new() };
    for path in paths {
        walk.ways.push(path.clone());
        while let Some(path) = walk.ways.pop() {
            walk.path(&path)?;
        }
    }
    Ok(without_nested(walk.reached.into_iter().collect()))
}

/// Drops each path that lies below the one before it; `None` if one is the root.
pub(super) fn without_nested(paths: Vec<String>) -> Option<Vec<String>> {
    let mut kept: Vec<String> = Vec::with_capacity(paths.len());
    for path in paths {
        if path == "." {
            return None;
        }
        let above = kept.last().map_or("", String::as_str);
        if !path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/')) {
            kept.push(path);
        }
    }
    Some(kept)
}

struct Walk<'s> {
    source: &'s dyn Source,
    reached: BTreeSet<String>,
    /// Paths that are still to be gone, the next one last. A list, so that no chain of links is a chain of calls.
    ways: Vec<String>,
}

impl Walk<'_> {
    fn path(&mut self, path: &str) -> Result<(), SyncError> {
        let path = join(".", path);
        let mut rest = path.as_str();
        let mut current = String::from(".");
        loop {
            let (component, behind) = rest.split_once('/').unwrap_or((rest, ""));
            current = join(&current, component);
            rest = behind;
            let targets = self.targets(&current)?;
            // A link leads on once only, even if something else lies behind it now. So does fsutil.
            if (rest.is_empty() || !targets.is_empty()) && !self.reached.insert(current.clone()) {
                return Ok(());
            }
            self.ways.extend(targets.iter().rev().map(|target| join(target, rest)));
            if rest.is_empty() || !targets.is_empty() {
                return Ok(());
            }
        }
    }

    /// Returns where the link `path` leads, or all links that match it if its last component is a pattern.
    fn targets(&mut self, path: &str) -> Result<Vec<String>, SyncError> {
        // What lies outside of the tree is nobody's business.
        if path == "." || path == ".." || path.starts_with("../") {
            return Ok(Vec::new());
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        if !has_wildcard(name) {
            return Ok(self.target(directory, path)?.into_iter().collect());
        }
        let mut targets = Vec::new();
        for found in self.source.names(directory)? {
            if go_path::matches(name, &found) != Ok(true) {
                continue;
            }
            match found.as_str() {
                Some(found) => targets.extend(self.target(directory, &join(directory, found))?),
                None if self.is_link(directory, &found)? => self.reach_everything(),
                None => {}
            }
        }
        Ok(targets)
    }

    fn target(&mut self, directory: &str, path: &str) -> Result<Option<String>, SyncError> {
        let Some(target) = self.source.link(&path.into())? else { return Ok(None) };
        let Some(target) = target.as_str() else {
            self.reach_everything();
            return Ok(None);
        };
        let target = go_path::clean(target);
        let is_rooted = target.starts_with('/');
        Ok(Some(if is_rooted { target } else { go_path::clean(&format!("/{directory}/{target}")) }))
    }

    fn is_link(&self, directory: &str, name: &PathBytes) -> Result<bool, SyncError> {
        let prefix = if directory == "." { String::new() } else { format!("{directory}/") };
        let path = [prefix.as_bytes(), name.as_bytes()].concat();
        Ok(self.source.link(&path.into())?.is_some())
    }

    fn reach_everything(&mut self) {
        self.reached.insert("**".to_owned());
    }
}

/// Go's `filepath.Join`.
fn join(directory: &str, path: &str) -> String {
    if path.is_empty() { go_path::clean(directory) } else { go_path::clean(&format!("{directory}/{path}")) }
}

fn has_wildcard(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_paths_and_a_root_make_others_needless() {
        let nested = |paths: &[&str]| without_nested(paths.iter().map(|path| (*path).to_owned()).collect());
        assert_eq!(
            nested(&["a", "a/b", "a/b/c", "ab", "b"]),
            Some(vec!["a".into(), "ab".into(), "b".into()])
        );
        assert_eq!(nested(&["a", "."]), None);
        assert_eq!(nested(&[]), Some(vec![]));
    }

    #[test]
    fn an_escaped_wildcard_is_none() {
        for (name, expected) in [("a*", true), ("a\\*", false), ("a\\\\*", true), ("[a]", true), ("a", false)]
        {
            assert_eq!(has_wildcard(name), expected, "{name}");
        }
    }
}
