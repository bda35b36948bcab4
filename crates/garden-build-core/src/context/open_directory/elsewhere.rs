//! Where there are no descriptors of directories: by path, looking for links before.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::{Attributes, FileKind, Listed};

#[derive(Debug)]
pub(super) struct Handle(PathBuf);

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.is_dir() { Ok(Self(path.to_owned())) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<Self> {
        Self::open(&self.beneath(path)?)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Option<(File, Attributes)>> {
        let file = File::open(self.beneath(path)?)?;
        let attributes = described(&file.metadata()?)?;
        Ok(Some((file, attributes)))
    }

    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let listed = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let kind = entry.file_type().ok().map(kind_of);
            Ok(Listed { name: entry.file_name(), kind, inode: 0 })
        };
        fs::read_dir(&self.0)?.map(listed).collect()
    }

    pub(super) fn attributes(&self, name: &OsStr) -> io::Result<Attributes> {
        described(&fs::symlink_metadata(self.0.join(name))?)
    }

    pub(super) fn own_attributes(&self) -> io::Result<Attributes> {
        described(&fs::metadata(&self.0)?)
    }

    pub(super) fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        fs::read_link(self.0.join(name))
    }

    /// The path of what is at `path`, if no link is part of that.
    fn beneath(&self, path: &Path) -> io::Result<PathBuf> {
        let mut real = self.0.clone();
        for component in path.components() {
            let Component::Normal(name) = component else { return Err(io::ErrorKind::NotADirectory.into()) };
            real.push(name);
            if fs::symlink_metadata(&real)?.is_symlink() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(real)
    }
}

fn described(metadata: &Metadata) -> io::Result<Attributes> {
    Ok(Attributes {
        kind: kind_of(metadata.file_type()),
        mode: 0o755,
        size: metadata.len(),
        modified: metadata.modified()?,
        changed: 0,
        device: 0,
        inode: 0,
        names: 1,
        special: 0,
    })
}

fn kind_of(file_type: fs::FileType) -> FileKind {
    if file_type.is_symlink() {
        FileKind::Link
    } else if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_file() {
        FileKind::File
    } else {
        FileKind::Other
    }
}
