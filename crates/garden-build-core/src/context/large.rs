//! Contexts that are larger than sources usually are, and what makes them so.
//!
//! Mostly that is what nobody meant to send: what a package manager has installed, what an earlier build has made, a
//! repository's history, a database dump.
//!
//! Why: docs/decisions/15-suspicions-are-warnings.md

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::select::line_for;
use super::{EntryKind, Manifest, PathBytes};

/// More bytes than this are suspicious. Few repositories have as much in sources, and it takes a minute to send them with 70
/// Mbit/s.
const USUAL_BYTES: u64 = 500 * 1024 * 1024;

/// More files than this are suspicious. Large repositories of one team have about 20 000. (Garden warns from 10 000 on, but
/// counts all files of a module's directory; here, only what the build reads counts.)
const USUAL_FILES: usize = 50_000;

/// Directories that tools make and that hardly any build reads.
const MADE_BY_TOOLS: [&str; 12] = [
    ".git",
    ".gradle",
    ".hg",
    ".next",
    ".terraform",
    ".tox",
    ".venv",
    "__pycache__",
    "dist",
    "node_modules",
    "target",
    "venv",
];

/// The share, in thousandths, from which on a directory or a file is named.
const NOTABLE: u64 = 100;

/// The limit for what tools have made, which is lower.
const NOTABLE_OF_TOOLS: u64 = 50;

/// How many directories and files are named at most.
const MOST_NAMED: usize = 5;

/// A context of more than 500 MiB or more than 50 000 files, counting only what is sent and is part of the version.
///
/// Shown, it says how large it is and what makes it so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LargeContext {
    /// The bytes of all files.
    pub bytes: u64,
    /// The number of files.
    pub files: usize,
    /// What makes it large: at most five directories or files, the largest first. Those with a tenth of it, or what
    /// tools make (`node_modules`, `target`, `.git` and the like) with a twentieth; if there are none, the largest ones at the
    /// top.
    pub largest: Vec<LargePart>,
}

/// A directory or a file that makes a context large, or all directories of one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LargePart {
    /// The line of a `.dockerignore` that leaves it out: its path, with what has a meaning in a pattern escaped, or
    /// `**/node_modules` for several directories that a tool has made.
    pub pattern: String,
    /// The bytes of all files in it.
    pub bytes: u64,
    /// The number of files in it.
    pub files: usize,
}

impl LargeContext {
    /// Looks what makes a context large; `None` if it is not.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        Self::over(manifest, Weight { bytes: USUAL_BYTES, files: USUAL_FILES })
    }

    fn over(manifest: &Manifest, usual: Weight) -> Option<Self> {
        let all = Weight { bytes: manifest.total_bytes(), files: manifest.file_count() };
        let scale = Scale {
            bytes: (all.bytes > usual.bytes).then_some(all.bytes),
            files: (all.files > usual.files).then_some(all.files as u64),
        };
        if scale.bytes.is_none() && scale.files.is_none() {
            return None;
        }
        let mut largest = Parts::of(manifest, &scale).largest(&scale);
        largest.sort_by_key(|(share, part)| (std::cmp::Reverse(*share), part.pattern.clone()));
        let largest = largest.into_iter().map(|(_, part)| part).take(MOST_NAMED).collect();
        Some(Self { bytes: all.bytes, files: all.files, largest })
    }
}

impl fmt::Display for LargeContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Weight { bytes: self.bytes, files: self.files })?;
        for (index, LargePart { pattern, bytes, files }) in self.largest.iter().enumerate() {
            let before = if index == 0 { "; the largest parts are" } else { "," };
            write!(f, "{before} `{pattern}` ({})", Weight { bytes: *bytes, files: *files })?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Default)]
struct Weight {
    bytes: u64,
    files: usize,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.files += other.files;
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.files == 1 { "file" } else { "files" };
        write!(f, "{} {files}, {} MiB", self.files, self.bytes.div_ceil(1024 * 1024))
    }
}

/// By what a context is too large, and how large it is.
struct Scale {
    bytes: Option<u64>,
    files: Option<u64>,
}

impl Scale {
    /// Returns the share of the whole that something has, in thousandths: the larger one of both if there is too much of
    /// both.
    fn share(&self, weight: Weight) -> u64 {
        let of = |part: u64, whole: u64| u64::try_from(u128::from(part) * 1000 / u128::from(whole.max(1)));
        let bytes = self.bytes.map_or(Ok(0), |whole| of(weight.bytes, whole));
        let files = self.files.map_or(Ok(0), |whole| of(weight.files as u64, whole));
        bytes.unwrap_or(1000).max(files.unwrap_or(1000))
    }
}

/// A context's directories and its largest files; what tools have made stands apart.
struct Parts {
    /// The first one is the context itself. What is in a directory comes after it.
    nodes: Vec<Node>,
    /// What tools have made, by the name of the directory.
    made_by_tools: BTreeMap<&'static str, Vec<usize>>,
}

/// A directory, or a file that is large by itself.
struct Node {
    path: PathBytes,
    /// What all files in it come to, except those that tools have made.
    weight: Weight,
    parent: usize,
    /// Whether a tool has made it, or something that it lies in.
    is_made: bool,
}

impl Parts {
    /// Goes through all entries once.
    fn of(manifest: &Manifest, scale: &Scale) -> Self {
        let top = Node { path: PathBytes::default(), weight: Weight::default(), parent: 0, is_made: false };
        let mut parts = Self { nodes: vec![top], made_by_tools: BTreeMap::new() };
        // The directories from the context to the present one.
        let mut way = vec![0];
        for entry in manifest.entries() {
            let depth = entry.path.as_bytes().split(|byte| *byte == b'/').count();
            way.truncate(depth);
            let parent = way.last().copied().unwrap_or_default();
            let is_made = parts.nodes[parent].is_made;
            let weight = match entry.kind {
                EntryKind::File { size, .. } => Weight { bytes: size, files: 1 },
                EntryKind::Directory => {
                    way.push(parts.nodes.len());
                    Weight::default()
                }
                EntryKind::Symlink { .. } => continue,
            };
            let is_file = weight.files == 1;
            if is_file && (is_made || scale.share(weight) < NOTABLE) {
                parts.nodes[parent].weight.add(weight);
                continue;
            }
            let tool = (!is_file && !is_made).then(|| tool_of(&entry.path)).flatten();
            if let Some(tool) = tool {
                parts.made_by_tools.entry(tool).or_default().push(parts.nodes.len());
            }
            parts.nodes.push(Node { path: entry.path, weight, parent, is_made: is_made || tool.is_some() });
        }
        for index in (1..parts.nodes.len()).rev() {
            let Node { weight, parent, is_made, .. } = parts.nodes[index];
            if is_made == parts.nodes[parent].is_made {
                parts.nodes[parent].weight.add(weight);
            }
        }
        parts
    }

    /// Returns what to name, each with its share.
    fn largest(&self, scale: &Scale) -> Vec<(u64, LargePart)> {
        let made = self.made_by_tools.iter().map(|(tool, nodes)| self.made_by(tool, nodes));
        let made = made.filter(|(weight, _)| scale.share(*weight) >= NOTABLE_OF_TOOLS);
        let named = self.notable(scale).into_iter().map(|node| (node.weight, line_for(node.path.as_bytes())));
        let mut named: Vec<_> = made.chain(named).collect();
        if named.is_empty() {
            let at_the_top = self.nodes.iter().skip(1).filter(|node| node.parent == 0 && !node.is_made);
            named.extend(at_the_top.map(|node| (node.weight, line_for(node.path.as_bytes()))));
        }
        let part = |(Weight { bytes, files }, pattern)| LargePart { pattern, bytes, files };
        named.into_iter().map(|named| (scale.share(named.0), part(named))).collect()
    }

    /// Joins the directories of one name: a single one, or one beside which the others are nothing, goes by its path.
    fn made_by(&self, tool: &str, nodes: &[usize]) -> (Weight, String) {
        let mut all = Weight::default();
        for node in nodes {
            all.add(self.nodes[*node].weight);
        }
        let main = nodes
            .iter()
            .map(|node| &self.nodes[*node])
            .find(|node| node.weight.bytes >= all.bytes / 10 * 9 && node.weight.files >= all.files / 10 * 9);
        match main {
            Some(node) => (node.weight, line_for(node.path.as_bytes())),
            None => (all, format!("**/{tool}")),
        }
    }

    /// Returns the notable directories and files that are not made by tools. Instead of a directory, those in it, if they are
    /// half of it.
    fn notable(&self, scale: &Scale) -> Vec<&Node> {
        let mut inside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate().skip(1) {
            if !node.is_made && scale.share(node.weight) >= NOTABLE {
                inside.entry(node.parent).or_default().push(index);
            }
        }
        let (mut found, mut open) = (Vec::new(), vec![0]);
        while let Some(index) = open.pop() {
            let below = inside.remove(&index).unwrap_or_default();
            let explained: u64 = below.iter().map(|index| scale.share(self.nodes[*index].weight)).sum();
            if index == 0 || 2 * explained >= scale.share(self.nodes[index].weight) {
                open.extend(below);
            } else {
                found.push(&self.nodes[index]);
            }
        }
        found
    }
}

/// Returns the name of a directory, if it is one that tools make.
fn tool_of(path: &PathBytes) -> Option<&'static str> {
    let name = path.as_bytes().rsplit(|byte| *byte == b'/').next()?;
    MADE_BY_TOOLS.into_iter().find(|tool| tool.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::SystemTime;

    use super::*;
    use crate::Digest;
    use crate::context::Entry;
    use crate::context::manifest::tests::manifest;

    const MIB: u64 = 1024 * 1024;

    /// A context with so many files of so many bytes each in these directories; one file is of that name itself.
    fn context(parts: &[(&str, usize, u64)]) -> Manifest {
        let mut entries = Vec::new();
        for (path, count, size) in parts {
            let digest = Digest::of(b"");
            let kind = EntryKind::File { size: *size, digest };
            let name =
                |number: usize| if *count == 1 { (*path).to_owned() } else { format!("{path}/{number}") };
            entries.extend((0..*count).map(|number| (name(number), kind.clone())));
        }
        let above =
            |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
        let directories: BTreeSet<String> = entries.iter().flat_map(|(path, _)| above(path)).collect();
        entries.extend(directories.into_iter().map(|path| (path, EntryKind::Directory)));
        entries.sort_by(|(one, _), (next, _)| one.split('/').cmp(next.split('/')));
        let entry = |(path, kind): (String, EntryKind)| Entry {
            path: path.as_str().into(),
            mode: 0o755,
            kind,
            modified: SystemTime::UNIX_EPOCH,
        };
        manifest(entries.into_iter().map(entry).collect())
    }

    /// The patterns of what is named, if more than 1 MiB or 100 files are too much.
    fn named(parts: &[(&str, usize, u64)]) -> Vec<String> {
        let usual = Weight { bytes: MIB, files: 100 };
        let large = LargeContext::over(&context(parts), usual).expect("it is large");
        large.largest.into_iter().map(|part| part.pattern).collect()
    }

    #[test]
    fn only_what_is_larger_than_sources_usually_are_is_large() {
        assert_eq!(LargeContext::of(&context(&[("a", 1, 500 * MIB)])), None);
        assert!(LargeContext::of(&context(&[("a", 1, 500 * MIB), ("b", 1, 1)])).is_some());
        assert_eq!(LargeContext::of(&context(&[("a", 50_000, 0)])), None);
        assert!(LargeContext::of(&context(&[("a", 50_000, 0), ("b", 1, 0)])).is_some());
    }

    #[test]
    fn it_says_how_large_it_is_and_which_lines_leave_out_what() {
        let sources =
            [("src", 900, 1), ("node_modules/a", 50_000, 20_000), ("data/dump[1].sql", 1, 400 * MIB)];
        let large = LargeContext::of(&context(&sources)).expect("it is large");
        assert_eq!(
            large.to_string(),
            "50901 files, 1354 MiB; the largest parts are `node_modules` (50000 files, 954 MiB), \
             `data/dump\\[1\\].sql` (1 file, 400 MiB)"
        );
        assert_eq!(
            serde_json::to_value(&large).expect("JSON"),
            serde_json::json!({
                "bytes": 1_000_000_900 + 400 * MIB,
                "files": 50_901,
                "largest": [
                    { "pattern": "node_modules", "bytes": 1_000_000_000, "files": 50_000 },
                    { "pattern": r"data/dump\[1\].sql", "bytes": 400 * MIB, "files": 1 },
                ],
            })
        );
    }

    #[test]
    fn what_tools_make_is_named_as_a_whole_and_once_for_many_directories() {
        let sources = ("src", 10, 1);
        assert_eq!(named(&[sources, ("web/node_modules/a/node_modules/b", 200, 1)]), ["web/node_modules"]);
        // Each is too little to be named.
        let many: Vec<String> = (0..30).map(|number| format!("p{number}/node_modules/x")).collect();
        let many: Vec<_> = many.iter().map(|path| (path.as_str(), 10, 1)).chain([sources]).collect();
        assert_eq!(named(&many), ["**/node_modules"]);
        // A small one beside a large one may be something else.
        assert_eq!(named(&[sources, ("target/debug", 200, 1), ("src/target", 2, 1)]), ["target"]);
        // A twentieth is enough, less is not. A file of that name is a file.
        assert_eq!(named(&[("a", 190, 1), (".venv", 10, 1)]), ["a", ".venv"]);
        assert_eq!(named(&[("a", 195, 1), (".venv", 5, 1)]), ["a"]);
        assert_eq!(named(&[("a/target", 1, 2 * MIB)]), ["a/target"]);
    }

    #[test]
    fn a_directory_is_named_as_deep_down_as_it_is_most_of_what_is_above() {
        assert_eq!(named(&[("a/b/c", 200, 1), ("a/d", 5, 1)]), ["a/b/c"]);
        assert_eq!(named(&[("a/b", 100, 1), ("a/c", 100, 1)]), ["a/b", "a/c"]);
        // A quarter of `a` is in `a/b`, and the rest is everywhere.
        let rest: Vec<String> = (0..30).map(|number| format!("a/d{number}")).collect();
        let parts: Vec<_> = rest.iter().map(|path| (path.as_str(), 10, 1)).chain([("a/b", 100, 1)]).collect();
        assert_eq!(named(&parts), ["a"]);
    }

    #[test]
    fn only_what_there_is_too_much_of_counts() {
        // 3 MiB in one file say nothing of too many files, and no 300 empty files of too many bytes.
        assert_eq!(named(&[("large", 1, 3 * MIB), ("many", 90, 1)]), ["large"]);
        assert_eq!(named(&[("large", 1, MIB / 2), ("many", 300, 0)]), ["many"]);
        assert_eq!(named(&[("large", 1, 3 * MIB), ("many", 300, 0)]), ["large", "many"]);
    }

    #[test]
    fn if_nothing_stands_out_the_largest_directories_at_the_top_are_named() {
        let names: Vec<String> = (0..20).map(|number| format!("d{number:02}")).collect();
        let parts = |(number, name)| (String::as_str(name), 20 + usize::from(number == 7), 1);
        let parts: Vec<_> = names.iter().enumerate().map(parts).collect();
        assert_eq!(named(&parts), ["d07", "d00", "d01", "d02", "d03"]);
    }
}
