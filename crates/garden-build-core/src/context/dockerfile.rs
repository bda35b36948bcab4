//! Which Dockerfile a build uses, and what it reads of the context.
//!
//! Why: docs/decisions/17-a-dockerfile-has-one-reader.md

mod build;
mod directives;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod heredoc;
mod images;
mod lex;
mod lines;
mod platform;
mod reads;
mod stages;
#[cfg(test)]
mod tests;
mod uses;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};
use std::sync::Arc;

use super::read::read_text;
use super::{ContextError, OpenDirectory};
use crate::{BuildRequest, ImageReference};

use self::build::Build;
use self::platform::Platform;
use self::stages::{Command, Outline};

pub(super) use reads::reads;
pub use uses::{Feature, Use};

/// The name whose lower-case form is accepted as well.
const DEFAULT_NAME: &str = "Dockerfile";

/// Which stages of a Dockerfile a builder builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum StagesBuilt {
    /// Those that the target is made of, as `BuildKit` does.
    Needed,
    /// All of them up to the target, as Docker's classic builder and some versions of kaniko do.
    #[default]
    ThroughTarget,
}

/// Why it is not known which files a Dockerfile reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Doubt(Cow<'static, str>);

impl Doubt {
    fn of(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a Dockerfile may mean something else than what was read; the first reason counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Doubts(Option<Doubt>);

impl Doubts {
    fn add(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.0.get_or_insert(Doubt::of(reason));
    }

    /// Returns what is certain; else notes why it is not.
    fn note<T>(&mut self, read: Result<T, Doubt>) -> Option<T> {
        read.map_err(|doubt| self.0.get_or_insert(doubt)).ok()
    }

    fn check(&self) -> Result<(), Doubt> {
        self.0.clone().map_or(Ok(()), Err)
    }
}

/// The Dockerfile of a build context. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dockerfile {
    path: Arc<str>,
    contents: Arc<[u8]>,
}

impl Dockerfile {
    /// Returns where the Dockerfile lies: relative to the context, with slashes. If `Dockerfile` was
    /// asked for and there is only a `dockerfile`, this is the latter.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the text. It is here even if the ignore file excludes the Dockerfile.
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    /// Returns the images that a build of `request` may pull, as far as this is known without building: those that stages
    /// begin with, copy from or mount. Each is there once; images that named contexts replace are not.
    pub fn images(&self, request: &BuildRequest) -> Vec<ImageReference> {
        images::of(&Outline::parse(&self.contents), request)
    }

    /// Returns the image of the frontend that is to read the Dockerfile, if it or `request` names one. `BuildKit` pulls it as
    /// well; other builders do not.
    pub fn frontend(&self, request: &BuildRequest) -> Option<ImageReference> {
        images::frontend(&Outline::parse(&self.contents), request)
    }

    /// Returns what the stages use that a build of `request` needs, if not every builder knows it. The result has nothing about a
    /// Dockerfile that is not certain to mean what it seems to.
    pub fn uses(&self, request: &BuildRequest) -> Vec<Use> {
        let outline = Outline::parse(&self.contents);
        let build = Build::likely(&outline, request, request.platforms.first().map(String::as_str));
        match (outline.doubts.check(), build.needed()) {
            (Ok(()), Ok(needed)) => {
                let stages = needed.into_iter().filter_map(|index| outline.stages.get(index));
                outline.uses.iter().chain(stages.flat_map(|stage| &stage.uses)).cloned().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the variables that describe the platform that `request` wants (`TARGETARCH` and so on), as far as the
    /// Dockerfile asks for them, has no default for them, and the request does not set them itself. `BuildKit` knows them; other
    /// builders need them as build arguments, and would prefer those to a default.
    pub fn platform_variables(&self, request: &BuildRequest) -> BTreeMap<String, String> {
        let [platform] = request.platforms.as_slice() else { return BTreeMap::new() };
        let Some(platform) = Platform::parse(platform) else { return BTreeMap::new() };
        let outline = Outline::parse(&self.contents);
        let commands = outline.stages.iter().flat_map(|stage| &stage.commands);
        let arguments = commands.filter_map(|command| match command {
            Command::Arg(arguments) => Some(arguments),
            _ => None,
        });
        let arguments = outline.arguments.iter().chain(arguments.flatten());
        let defaults: BTreeSet<&str> = arguments
            .filter(|argument| argument.default.is_some())
            .map(|argument| argument.name.as_str())
            .collect();
        let uses = outline.uses.iter().chain(outline.stages.iter().flat_map(|stage| &stage.uses));
        let wanted = uses.filter_map(|used| match &used.feature {
            Feature::PlatformVariable(name) if !request.build_args.contains_key(name) => Some(name),
            _ => None,
        });
        let wanted = wanted.filter(|name| !defaults.contains(name.as_str()));
        wanted.filter_map(|name| Some((name.clone(), platform.variable(name)?))).collect()
    }

    /// Reads the Dockerfile at `path`, which [`relative_path`] has cleaned.
    pub(super) fn read(root: &OpenDirectory, path: &str) -> Result<Self, ContextError> {
        let found = |path: &str, contents: Vec<u8>| Self { path: path.into(), contents: contents.into() };
        match read_text(root, path.as_ref(), path) {
            Ok(Some(contents)) => return Ok(found(path, contents)),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        let (directory, name) = split(path);
        if name == DEFAULT_NAME {
            let lower = format!("{directory}{}", name.to_ascii_lowercase());
            if let Some(contents) = read_text(root, lower.as_ref(), &lower)? {
                return Ok(found(&lower, contents));
            }
        }
        let similar = similar_name(root, directory, name).map(|similar| format!("{directory}{similar}"));
        let root = root.path().to_owned();
        Err(ContextError::DockerfileMissing { path: path.to_owned(), similar, root })
    }
}

/// Checks that `path` lies inside the context, and writes it with slashes and without detours.
pub(super) fn relative_path(path: &Path) -> Result<String, ContextError> {
    let outside = |reason| ContextError::Outside { path: path.to_owned(), reason };
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if parts.pop().is_some() => {}
            Component::ParentDir => return Err(outside("leads out of the context directory")),
            Component::RootDir | Component::Prefix(_) => {
                return Err(outside("is absolute, but has to be relative to the context directory"));
            }
            Component::Normal(part) => parts.push(
                part.to_str()
                    .ok_or_else(|| ContextError::NameNotUtf8(path.to_string_lossy().into_owned()))?,
            ),
        }
    }
    if parts.is_empty() {
        return Err(outside("names no file"));
    }
    Ok(parts.join("/"))
}

/// Splits a path into the directory with its slash, and the name.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

fn similar_name(root: &OpenDirectory, directory: &str, name: &str) -> Option<String> {
    let listed = root.directory(directory.as_ref()).and_then(|directory| directory.list()).ok()?;
    let mut names = listed.into_iter().filter_map(|listed| listed.name.into_string().ok());
    names.find(|other| other.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod reading {
    use std::fs;

    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, text).expect("file");
        }
        directory
    }

    fn read(directory: &tempfile::TempDir, path: &str) -> Result<Dockerfile, ContextError> {
        let root = OpenDirectory::open(directory.path()).expect("exists");
        Dockerfile::read(&root, &relative_path(Path::new(path))?)
    }

    #[test]
    fn accepts_the_lower_case_name_only_for_the_default_name() {
        let directory = directory(&[("dockerfile", "FROM a"), ("sub/dockerfile", "FROM b"), ("Api", "")]);
        let found = read(&directory, "./sub/../Dockerfile").expect("found");
        assert_eq!((found.path(), found.contents()), ("dockerfile", &b"FROM a"[..]));
        assert_eq!(read(&directory, "sub/Dockerfile").expect("found").path(), "sub/dockerfile");
        let error = crate::Error::from(read(&directory, "api").expect_err("other case"));
        assert!(error.message().contains("there is no `api` in"), "{error}");
        assert!(error.hint().expect("hint").contains("did you mean `Api`?"), "{error}");
    }

    #[test]
    fn refuses_a_path_outside_of_the_context_and_says_why() {
        let directory = directory(&[]);
        for (path, reason) in [
            ("../Dockerfile", "leads out"),
            ("a/../../Dockerfile", "leads out"),
            ("/etc/passwd", "is absolute"),
            (".", "names no file"),
        ] {
            let error = read(&directory, path).expect_err(path).to_string();
            assert!(error.contains(path) && error.contains(reason), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn follows_a_link_inside_of_the_context_but_not_out_of_it() {
        use std::os::unix::fs::symlink;
        let directory = directory(&[("real", "FROM a")]);
        symlink("real", directory.path().join("inside")).expect("link");
        symlink("/etc/passwd", directory.path().join("outside")).expect("link");
        assert_eq!(read(&directory, "inside").expect("found").contents(), b"FROM a");
        let error = read(&directory, "outside").expect_err("outside").to_string();
        assert!(error.contains("`outside` is a symbolic link"), "{error}");
    }

    #[test]
    fn refuses_a_directory_and_a_file_that_is_far_too_large() {
        let directory = directory(&[("sub/x", ""), ("large", &" ".repeat(1024 * 1024 + 1))]);
        assert!(matches!(read(&directory, "sub"), Err(ContextError::NotAFile(path)) if path == "sub"));
        let error = read(&directory, "large").expect_err("large").to_string();
        assert!(error.contains("`large` is larger than 1048576 bytes"), "{error}");
    }
}
