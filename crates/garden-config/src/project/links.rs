//! Links among the files of a project, and files that are reached without following any.

use std::io;
use std::path::Path;

use garden_build_core::context::OpenDirectory;
use garden_build_core::read_at_most;

use crate::document::problems::Source;
use crate::document::yaml;
use crate::{ConfigError, Notice, NoticeKind};

/// What a link that is called as a file of modules and actions stands for.
pub(super) enum Linked {
    /// The text of the file that it leads to.
    Text(String),
    /// Something that is not a file.
    Nothing,
    /// As Garden, nobody reads it.
    PassedOver(Notice),
    /// It must not be passed over, and cannot be read.
    Refused(ConfigError),
}

/// Reads what the link at `path` leads to: as with Garden, a relative one that stays in the project's directory `root` stands for
/// the file, and an absolute one for nothing. One that leads out is read by Garden if it stays in the git repository, which is
/// not looked at here.
///
/// Source: Garden, `core/src/vcs/git.ts` of 0.12 and `git-sub-tree.ts` of 0.14.
pub(super) fn read(project: &Source, root: &Path, path: &Path) -> Linked {
    let refused = |reason: &str| {
        let hint = "put the file itself there, or leave the link out with `scan.exclude`";
        Linked::Refused(ConfigError::whole_file(path, format!("the link cannot be read: {reason}"), hint))
    };
    match path.read_link() {
        Ok(target) if target.is_absolute() => return Linked::PassedOver(notice(path)),
        Ok(_) => {}
        Err(error) => return refused(&error.to_string()),
    }
    if let Some(reason) = leads_out(project, path) {
        return refused(reason);
    }
    let (root, target) = match (root.canonicalize(), path.canonicalize()) {
        (Ok(root), Ok(target)) => (root, target),
        (Err(error), _) | (_, Err(error)) => return refused(&error.to_string()),
    };
    if !target.starts_with(&root) {
        return refused("it leads out of the project's directory");
    }
    if !target.is_file() {
        return Linked::Nothing;
    }
    read_inside(&root, &target).map_or_else(|reason| refused(&reason), Linked::Text)
}

/// Why the link at `path` must not be followed: the file `project` is confined, and it leads out of its directory, or nowhere. Nobody
/// learns which of the two it is.
pub(super) fn leads_out(project: &Source, path: &Path) -> Option<&'static str> {
    let inside = path.strip_prefix(project.directory()).unwrap_or(path);
    project
        .lead(inside)
        .is_none()
        .then_some("it leads out of the project's directory, to which the project is confined, or nowhere")
}

fn notice(path: &Path) -> Notice {
    Notice {
        kind: NoticeKind::PassedOver,
        field: String::new(),
        file: Some(path.to_owned()),
        position: None,
        message: "the link is passed over, as it is absolute".to_owned(),
        hint: Some("make it relative if it is to be read".to_owned()),
    }
}

/// Reads the file at `path`, which leads through no link and lies in `directory`, without following links any more: so nothing
/// can be put in its place since it was looked at.
pub(super) fn read_inside(directory: &Path, path: &Path) -> Result<String, String> {
    let opened = OpenDirectory::open(directory).and_then(|directory| {
        let inside = path.strip_prefix(directory.path()).map_err(|_| io::ErrorKind::NotFound)?;
        directory.file(inside)
    });
    match opened {
        Ok(Some((file, _))) => yaml::text(read_at_most(file, yaml::SIZE_LIMIT)),
        Ok(None) => Err("it is not a file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
