//! Which entries of a context a build can read.

use std::collections::{BTreeSet, HashSet};
use std::path::{Component, Path};

use super::sieve::Verdict;
use super::wishes::{Wishes, is_wild};
use crate::context::{FileKind, OpenDirectory, go_path};

/// Symbolic links that may follow one another, as with `BuildKit` (`RootPath` of containerd's continuity).
const MAX_LINKS: usize = 255;

/// How many entries are looked at in search of links. Who has more has everything kept.
const MAX_ENTRIES: usize = 100_000;

/// What of a context a build can read: all of it, or what some paths and patterns lead to.
///
/// Decides for every entry whether it is wanted, by its path alone. What is kept beyond what is read does no
/// harm, so wherever it is hard to be exact, more is kept.
#[derive(Clone, Debug, Default)]
pub(in crate::context) enum Wanted {
    #[default]
    Everything,
    Only(Wishes),
}

impl Wanted {
    /// Wants what `sources` lead to in the context directory `root`: clean relative paths, and patterns in
    /// Go's syntax. A link on the way leads on to its target.
    ///
    /// # Errors
    /// With the reason if everything is wanted, or may be.
    pub(super) fn of(sources: &BTreeSet<String>, root: &OpenDirectory) -> Result<Self, String> {
        let mut wishes = Wishes::default();
        for source in &Links::new(root, sources).follow_all()? {
            wishes.add(source)?;
        }
        Ok(Self::Only(wishes))
    }

    /// Decides about `path`. Below what is kept, everything is.
    pub(in crate::context) fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict {
        match self {
            Self::Everything => Verdict::Keep,
            Self::Only(wishes) => match wishes.verdict(path) {
                Verdict::Search if !is_directory => Verdict::Drop,
                verdict => verdict,
            },
        }
    }
}

/// The parts of a path, last first, so that the next one is at the end.
fn parts(path: &str) -> Vec<String> {
    path.split('/').rev().map(str::to_owned).collect()
}

/// Finds the symbolic links that paths go through, and where they lead.
struct Links<'r> {
    root: &'r OpenDirectory,
    /// All paths and patterns that are wanted.
    found: BTreeSet<String>,
    /// Ways that are still to be gone. A list, so that no chain of links is a chain of calls.
    ways: Vec<Way>,
    /// Places that a search has been to, and what it still had to go through.
    seen: HashSet<(String, Vec<String>)>,
    entries: usize,
}

/// A directory that no link leads to, and what is to be gone through from there.
struct Way {
    at: String,
    /// The next one is at the end.
    rest: Vec<String>,
    /// How many links have led here.
    links: usize,
}

impl<'r> Links<'r> {
    fn new(root: &'r OpenDirectory, sources: &BTreeSet<String>) -> Self {
        let way = |source: &String| Way { at: String::new(), rest: parts(source), links: 0 };
        let ways = sources.iter().map(way).collect();
        Self { root, found: sources.clone(), ways, seen: HashSet::new(), entries: 0 }
    }

    /// Returns all that is wanted.
    ///
    /// # Errors
    /// With the reason if links may have been missed.
    fn follow_all(mut self) -> Result<BTreeSet<String>, String> {
        while let Some(way) = self.ways.pop() {
            if self.seen.insert((way.at.clone(), way.rest.clone())) {
                self.follow(way)?;
            }
        }
        Ok(self.found)
    }

    fn follow(&mut self, Way { mut at, mut rest, links }: Way) -> Result<(), String> {
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => {}
                ".." => {
                    // The directory has to be there for the system to go up from it.
                    if !at.is_empty() {
                        self.want(&at);
                    }
                    at = parent(&at).to_owned();
                }
                part if is_wild(part) => return self.follow_matches(&at, part, &rest, links),
                part => {
                    let path = join(&at, part);
                    match self.root.read_link(Path::new(&path)) {
                        Ok(target) => return self.follow_link(&path, &target, &rest, links),
                        Err(_) => at = path,
                    }
                    self.count(1)?;
                }
            }
        }
        self.want(&at);
        Ok(())
    }

    fn follow_matches(
        &mut self,
        at: &str,
        pattern: &str,
        rest: &[String],
        links: usize,
    ) -> Result<(), String> {
        let opened =
            self.root.directory(Path::new(at)).and_then(|open| open.list().map(|listed| (open, listed)));
        let Ok((directory, entries)) = opened else { return Ok(()) };
        self.count(entries.len())?;
        for entry in entries {
            let name = &entry.name;
            let Ok(kind) = directory.kind(&entry) else { continue };
            // A malformed pattern, or one with brackets, has the whole directory kept.
            let may_match =
                pattern.contains('[') || go_path::matches(pattern, name.as_encoded_bytes()) == Ok(true);
            let is_directory = kind == FileKind::Directory;
            let leads_on = kind == FileKind::Link || (is_directory && !rest.is_empty());
            if !may_match || !leads_on {
                continue;
            }
            let path = join(at, name.to_str().ok_or_else(|| not_utf8(&join(at, &name.to_string_lossy())))?);
            if is_directory {
                self.ways.push(Way { at: path, rest: rest.to_vec(), links });
            } else if let Ok(target) = directory.read_link(Path::new(name)) {
                self.follow_link(&path, &target, rest, links)?;
            }
        }
        Ok(())
    }

    /// Goes on from the link at `path` to its `target`, and from there through `rest`.
    fn follow_link(
        &mut self,
        path: &str,
        target: &Path,
        rest: &[String],
        links: usize,
    ) -> Result<(), String> {
        self.want(path);
        if links == MAX_LINKS {
            return Ok(());
        }
        self.count(1)?;
        let mut at = parent(path).to_owned();
        let mut names: Vec<String> = Vec::new();
        for component in target.components() {
            match component {
                // An absolute link leads to below the context directory, for whoever follows it.
                Component::RootDir | Component::Prefix(_) => at.clear(),
                Component::CurDir => {}
                // Directories above the link are there because of it.
                Component::ParentDir if names.is_empty() => at.truncate(parent(&at).len()),
                Component::ParentDir => names.push("..".to_owned()),
                Component::Normal(name) => {
                    names.push(name.to_str().ok_or_else(|| not_utf8(path))?.to_owned());
                }
            }
        }
        // The system goes through links before it goes up, BuildKit after.
        let as_the_system: Vec<String> = rest.iter().cloned().chain(names.iter().rev().cloned()).collect();
        let behind: Vec<&str> = rest.iter().rev().map(String::as_str).collect();
        let text = go_path::clean(&format!("/{at}/{}/{}", names.join("/"), behind.join("/")));
        let by_text = text.trim_start_matches('/');
        self.want(by_text);
        self.ways.push(Way { at: String::new(), rest: parts(by_text), links: links + 1 });
        self.ways.push(Way { at, rest: as_the_system, links: links + 1 });
        Ok(())
    }

    fn want(&mut self, path: &str) {
        self.found.insert(if path.is_empty() { ".".to_owned() } else { path.to_owned() });
    }

    /// Counts entries that were looked at.
    fn count(&mut self, entries: usize) -> Result<(), String> {
        self.entries += entries;
        if self.entries <= MAX_ENTRIES {
            return Ok(());
        }
        Err(format!("more than {MAX_ENTRIES} entries may be links to what is read"))
    }
}

/// Wishes are text. Where names are not, which is rare, links are not followed.
fn not_utf8(path: &str) -> String {
    format!("the link or directory `{path}`, or what it leads to, has a name that is not UTF-8")
}

/// The directory above `path`, up to the context directory.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What `sources` lead to in an empty directory.
    fn wanted(sources: &[&str]) -> Result<Wanted, String> {
        let root = tempfile::tempdir().expect("temporary directory");
        let root = OpenDirectory::open(root.path()).expect("open");
        Wanted::of(&sources.iter().map(|source| (*source).to_owned()).collect(), &root)
    }

    /// The verdict about a path, which is that of a directory if it ends with a slash.
    fn verdict(sources: &[&str], path: &str) -> Verdict {
        let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        wanted(sources).expect("not everything").verdict(path.as_bytes(), is_directory)
    }

    #[test]
    fn what_is_above_is_searched_and_what_is_below_is_kept() {
        for (source, path, expected) in [
            ("a/b", "a/", Verdict::Search),
            ("a/b", "a", Verdict::Drop),
            ("a/b", "a/b", Verdict::Keep),
            ("a/b", "a/b/c/d", Verdict::Keep),
            ("a/b", "a/bc", Verdict::Drop),
            ("a/b", "b/", Verdict::Drop),
            ("a b", "a b", Verdict::Keep),
            ("!a", "!a", Verdict::Keep),
            ("*.c", "x.c/y", Verdict::Keep),
            ("*.c", "x/", Verdict::Drop),
            ("*", ".hidden", Verdict::Keep),
            ("*/x?", "a/", Verdict::Search),
            ("*/x?", "a/xy/z", Verdict::Keep),
            ("*/x?", "a/xyz", Verdict::Drop),
            ("a/[bc]*/d", "a/e", Verdict::Keep),
            ("a/[bc]*/d", "b", Verdict::Drop),
            ("file[x]", "file", Verdict::Keep),
            ("file[x]", "filex", Verdict::Keep),
            ("file[x]", "file[x]", Verdict::Keep),
            ("file[x]", "other", Verdict::Drop),
            ("d/*.x[yz", "d/a.xy", Verdict::Keep),
            ("d/*.x[yz", "d/a.y", Verdict::Drop),
            // A class may match a slash.
            ("a[b/]c", "a/c", Verdict::Keep),
            ("a/**/d", "a/b/", Verdict::Search),
            ("a/**/d", "a/b/c/d", Verdict::Keep),
            ("a/**/d", "a/d/e", Verdict::Keep),
            ("a/**/d", "a/b/c", Verdict::Drop),
            ("a/**/d", "b/", Verdict::Drop),
            ("a/**", "a/b", Verdict::Keep),
        ] {
            assert_eq!(verdict(&[source], path), expected, "{path} for {source}");
        }
        assert_eq!(verdict(&["a", "b"], "b"), Verdict::Keep);
        assert_eq!(verdict(&[], "a/"), Verdict::Drop);
    }

    #[test]
    fn what_cannot_be_told_apart_is_kept() {
        assert_eq!(verdict(&["[ab]"], "z"), Verdict::Keep);
        for (source, reason) in [
            (".", "all of it is read"),
            ("a\\b", "`a\\b` contains a backslash"),
            ("!**", "`!**` is an unusual pattern"),
        ] {
            let said = wanted(&[source]).expect_err(source);
            assert!(said.contains(reason), "{source}: {said}");
        }
    }

    #[test]
    fn many_sources_take_no_longer_for_each_entry_than_few() {
        let sources: Vec<String> =
            (0..3000).map(|index| format!("packages/p{index}/p{index}*.json")).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let wanted = wanted(&sources).expect("not everything");
        let paths: Vec<String> =
            (0..50_000).map(|index| format!("packages/p{}/p{index}.json", index % 4000)).collect();
        let before = garden_test_programs::cpu_time();
        let kept =
            paths.iter().filter(|path| wanted.verdict(path.as_bytes(), false) == Verdict::Keep).count();
        let took = garden_test_programs::cpu_time().saturating_sub(before);
        assert_eq!(kept, 3040);
        // Each by each, this would be 150 million comparisons.
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[cfg(unix)]
    mod links {
        use std::fs;
        use std::os::unix::fs::symlink;

        use super::*;

        /// What `sources` lead to in a tree with these links and directories.
        fn found(links: &[(&str, &str)], directories: &[&str], sources: &[&str]) -> Vec<String> {
            let root = tempfile::tempdir().expect("temporary directory");
            for directory in directories {
                fs::create_dir_all(root.path().join(directory)).expect("directory");
            }
            for (link, target) in links {
                let link = root.path().join(link);
                fs::create_dir_all(link.parent().expect("parent")).expect("directory");
                symlink(target, link).expect("link");
            }
            let root = OpenDirectory::open(root.path()).expect("open");
            let sources = sources.iter().map(|source| (*source).to_owned()).collect();
            let found = Links::new(&root, &sources).follow_all().expect("all links are found");
            found.into_iter().collect()
        }

        #[test]
        fn links_that_are_no_text_have_everything_kept() {
            use std::ffi::OsStr;
            use std::os::unix::ffi::OsStrExt as _;
            let name = OsStr::from_bytes;
            let root = tempfile::tempdir().expect("temporary directory");
            fs::create_dir(root.path().join(name(b"d\xe9"))).expect("directory");
            fs::write(root.path().join(name(b"f\xe9")), "").expect("file");
            symlink("target", root.path().join(name(b"l\xe9"))).expect("link");
            symlink(name(b"t\xe9"), root.path().join("m")).expect("link");
            let open = OpenDirectory::open(root.path()).expect("open");
            for (source, is_certain) in [
                ("*", false),
                ("l?", false),
                ("m", false),
                ("d?/x", false),
                ("d?", true),
                ("f?", true),
                ("other*", true),
            ] {
                let wanted = Wanted::of(&BTreeSet::from([source.to_owned()]), &open);
                assert_eq!(wanted.is_ok(), is_certain, "{source}");
                if let Err(reason) = wanted {
                    assert!(reason.ends_with("has a name that is not UTF-8"), "{reason}");
                }
            }
        }

        #[test]
        fn a_link_leads_on_to_its_target_with_the_rest_of_the_path() {
            let links = [("d/link", "../e"), ("chain", "d/link/f"), ("root", "/e"), ("out", "../../../g")];
            let links = |sources: &[&str]| found(&links, &["e/f"], sources);
            assert_eq!(links(&["d/link"]), ["d/link", "e"]);
            // Both ways that a link is gone through, and both paths beneath it.
            let both = links(&["d/link/x", "d/link/y"]);
            assert!(
                ["d/link", "e/x", "e/y"].iter().all(|path| both.contains(&(*path).to_owned())),
                "{both:?}"
            );
            let chain = links(&["chain"]);
            assert!(
                ["chain", "d/link", "e/f"].iter().all(|path| chain.contains(&(*path).to_owned())),
                "{chain:?}"
            );
            assert_eq!(links(&["root/f"]), ["e/f", "root", "root/f"]);
            assert_eq!(links(&["out"]), ["g", "out"]);
            assert_eq!(links(&["d"]), ["d"]);
        }

        #[test]
        fn links_are_found_behind_wildcards() {
            let links = [("a/1", "../b"), ("a/2/x", "../../c"), ("l", "a")];
            let links = |source: &str| found(&links, &["b/x", "c"], &[source]);
            assert!(links("a/*").contains(&"b".to_owned()));
            assert!(links("*/*/x").contains(&"b/x".to_owned()));
            assert!(links("*/*/x").contains(&"c".to_owned()));
            assert!(links("l/?").contains(&"a/?".to_owned()));
            assert!(links("l/?").contains(&"b".to_owned()));
        }

        #[test]
        fn the_system_s_way_up_from_a_link_is_wanted_as_well_as_that_of_the_text() {
            let found = found(&[("link", "to/../x"), ("to", "deep/er")], &["deep/er"], &["link"]);
            assert!(
                ["x", "deep/x", "deep/er"].iter().all(|path| found.contains(&(*path).to_owned())),
                "{found:?}"
            );
        }

        #[test]
        fn links_in_a_circle_come_to_an_end() {
            let links = [("a", "b"), ("b", "a"), ("c", "c/d"), ("e/f", "f/g"), ("h", ".")];
            for source in ["a/x", "c/x", "e/f/x", "h/h/h", "*/*/*/*"] {
                assert!(!found(&links, &[], &[source]).is_empty());
            }
        }
    }
}
