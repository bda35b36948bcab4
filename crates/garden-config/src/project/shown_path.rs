//! Paths as templates see them: `${local.projectPath}`, `${this.sourcePath}`.

use std::path::{Path, PathBuf};

use crate::Project;
use crate::document::normalized::normalized;

impl Project {
    /// The path as templates see it: with Garden it is absolute. A confined project learns nothing of this machine, so there it
    /// stays as the caller gave it.
    pub(crate) fn shown_path(&self, path: &Path) -> PathBuf {
        if self.source.boundary().is_some() {
            return normalized(path);
        }
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        normalized(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }
}
