//! Which files of a project's directory hold modules and actions.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use garden_build_core::context::{GlobFilter, Verdict};
use garden_build_core::{FileGlobs, read_regular_file};
use ignore::WalkBuilder;

use crate::document::decode::{Fields, refuse_template, refuse_templates, text};
use crate::document::globs;
use crate::document::problems::{Problems, Source};
use crate::document::yaml;
use crate::project::links::{self, Linked};
use crate::{ConfigError, Notice, NoticeKind, Problem, Project};

/// What a project says of its files: the fields `scan` (`modules` with Garden 0.12) and `dotIgnoreFile`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScanSettings {
    globs: FileGlobs,
    /// The names of files in the way of `.gitignore` that say what does not count.
    pub(crate) ignore_files: Vec<String>,
}

/// Directories that hold nothing of the project, whatever it says.
const NEVER: [&str; 2] = [".git", ".garden"];

/// A project may not name more ignore files: each of them is looked for in every directory.
const MOST_IGNORE_FILES: usize = 100;

impl ScanSettings {
    /// Reads the fields. None of Garden's generations resolves templates in them: 0.12 and 0.13 take them for globs and names.
    ///
    /// Source: Garden, `resolveProjectConfig` in `core/src/config/project.ts`.
    pub(crate) fn read(fields: &Fields<'_>, problems: &Problems) -> Self {
        let (mut include, mut exclude, mut ignore_files) = (None, Vec::new(), Vec::new());
        for name in ["modules", "scan"] {
            let Some(node) = fields.node(name) else { continue };
            let what = format!("`{name}`");
            let Some(scan) = Fields::open(node, &what, problems) else { continue };
            refuse_templates(node, &what, problems);
            scan.set_aside(&["git"]);
            let own =
                globs::globs(scan.node("include").map(|_| scan.texts("include")), scan.texts("exclude"));
            scan.finish_with(|| globs::issues(&own));
            include = own.include.or(include);
            exclude.extend(own.exclude);
        }
        if let Some(node) = fields.node("dotIgnoreFiles") {
            refuse_templates(node, "`dotIgnoreFiles`", problems);
            ignore_files = fields.texts("dotIgnoreFiles");
            let position = fields.key_position("dotIgnoreFiles");
            if ignore_files.len() > MOST_IGNORE_FILES {
                ignore_files.clear();
                let message = format!("`dotIgnoreFiles` names more than {MOST_IGNORE_FILES} files");
                problems.report(position, message, Some("name fewer".to_owned()));
            }
            let message = "`dotIgnoreFiles` is called `dotIgnoreFile` since Garden 0.13 and names one file";
            problems.notice(
                NoticeKind::Deprecated,
                "dotIgnoreFiles",
                position,
                message,
                "use `dotIgnoreFile`",
            );
        }
        if let Some(node) = fields.node("dotIgnoreFile") {
            refuse_template(node, "`dotIgnoreFile`", problems);
            ignore_files = text(node, "`dotIgnoreFile`", problems).map(str::to_owned).into_iter().collect();
        } else if fields.node("dotIgnoreFiles").is_none() {
            ignore_files = vec![".gardenignore".to_owned()];
        }
        Self { globs: globs::globs(include, exclude), ignore_files }
    }
}

/// The files with modules and actions besides the project's own file.
#[derive(Default)]
pub(crate) struct Found {
    /// Sorted by path.
    pub(crate) sources: Vec<Source>,
    /// Links that Garden passes over.
    pub(crate) notices: Vec<Notice>,
    /// Links that cannot be read.
    pub(crate) refused: Vec<Problem>,
}

/// Finds and reads the files of `project`.
pub(crate) fn others(project: &Project) -> Result<Found, ConfigError> {
    let root = if project.directory().as_os_str().is_empty() { Path::new(".") } else { project.directory() };
    let mut found = Found::default();
    for path in paths(project, root)? {
        // The text of the project's file is there already, and may have come from somewhere else.
        let is_own = path.file_name() == project.source.file.file_name() && path.parent() == Some(root);
        if is_own {
            continue;
        }
        let text = if path.is_symlink() {
            match links::read(&project.source, root, &path) {
                Linked::Text(text) => text,
                Linked::Nothing => continue,
                Linked::PassedOver(notice) => {
                    found.notices.push(notice);
                    continue;
                }
                Linked::Refused(error) => {
                    found.refused.extend(error.problems().iter().cloned());
                    continue;
                }
            }
        } else {
            yaml::read_file(&path).map_err(|reason| {
                let hint = "mend it, or leave it out with `scan.exclude`";
                ConfigError::whole_file(&path, format!("the file cannot be read: {reason}"), hint)
            })?
        };
        found.sources.push(Source::new(&path, &text).confined_as(&project.source));
    }
    Ok(found)
}

fn paths(project: &Project, root: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    // The text may belong to a file that is nowhere.
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |error: &dyn Display| {
        let hint = "see the fields `scan` and `dotIgnoreFile` of the project";
        ConfigError::whole_file(root, format!("the project's files cannot be listed: {error}"), hint)
    };
    let filter = GlobFilter::new(&project.scan.globs).map_err(|error| failed(&error))?;
    let directory = root.to_owned();
    let is_taken = Arc::new(move |path: &Path, is_directory| {
        filter.judge(&below(&directory, path), is_directory) != Verdict::Drop
    });
    let names = &project.scan.ignore_files;
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        let hint = "give a name without slashes, such as `.gardenignore`";
        let message =
            format!("`{name}` cannot be the name of an ignore file, which is looked for in every directory");
        return Err(ConfigError::whole_file(root, message, hint));
    }
    let unreadable =
        Unreadable { source: project.source.clone(), names: names.clone(), found: Arc::default() };
    let asked = unreadable.clone();
    if unreadable.is_in(root) {
        return Err(unreadable.into_error());
    }
    let is_searched = Arc::clone(&is_taken);
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false).filter_entry(move |entry| {
        let is_never = NEVER.iter().any(|name| entry.file_name() == *name);
        let is_directory = entry.file_type().is_some_and(|it| it.is_dir());
        !is_never && (!is_directory || is_searched(entry.path(), true) && !asked.is_in(entry.path()))
    });
    for name in names {
        walk.add_custom_ignore_filename(name);
    }
    let mut paths = Vec::new();
    for entry in walk.build() {
        if unreadable.is_any() {
            break;
        }
        let entry = entry.map_err(|error| failed(&error))?;
        let is_file = entry.file_type().is_some_and(|it| it.is_file() || it.is_symlink());
        if is_file && is_configuration(entry.file_name()) && is_taken(entry.path(), false) {
            paths.push(entry.into_path());
        }
    }
    if unreadable.is_any() {
        return Err(unreadable.into_error());
    }
    paths.sort();
    Ok(paths)
}

/// The slash-separated path of `path` below `root`.
fn below(root: &Path, path: &Path) -> Vec<u8> {
    let parts = path.strip_prefix(root).unwrap_or(path).iter();
    parts.map(OsStr::as_encoded_bytes).collect::<Vec<_>>().join(&b'/')
}

fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|plain| plain == name)
}

/// Looks for ignore files that cannot be ones, before the walk opens them: it would read a device without an end, and wait
/// for the other end of a FIFO, and follow a link out of a confined project.
#[derive(Clone)]
struct Unreadable {
    source: Source,
    names: Vec<String>,
    /// The first one, and why.
    found: Arc<Mutex<Option<(PathBuf, String)>>>,
}

impl Unreadable {
    /// Whether there is one in `directory`, which is then remembered.
    fn is_in(&self, directory: &Path) -> bool {
        let problem = |path: PathBuf| {
            let reason = self.reason(&path)?;
            Some((path, reason))
        };
        let Some(first) = self.names.iter().find_map(|name| problem(directory.join(name))) else {
            return false;
        };
        self.lock().get_or_insert(first);
        true
    }

    /// Why the ignore file at `path` cannot be one, if it is there.
    fn reason(&self, path: &Path) -> Option<String> {
        let leads_out = if path.is_symlink() { links::leads_out(&self.source, path) } else { None };
        if let Some(reason) = leads_out {
            return Some(reason.to_owned());
        }
        let error = read_regular_file(path, yaml::SIZE_LIMIT).err()?;
        let is_passed_over =
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
        (!is_passed_over).then(|| error.to_string())
    }

    fn is_any(&self) -> bool {
        self.lock().is_some()
    }

    fn into_error(self) -> ConfigError {
        let (path, reason) = self.lock().take().unwrap_or_default();
        let hint = "an ignore file is a text file; see the field `dotIgnoreFile` of the project";
        ConfigError::whole_file(&path, format!("the ignore file cannot be read: {reason}"), hint)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(PathBuf, String)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file of this name holds a project, modules or actions.
pub(crate) fn is_configuration(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml"));
    stem.is_some_and(|stem| stem == "garden" || stem.ends_with(".garden"))
}
