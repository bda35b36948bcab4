//! The build context: from a directory to a [`Manifest`] with a digest, and from there to a stream.
//!
//! 1. [`Context::scan`] finds the Dockerfile and the ignore file that belongs to it, walks the
//!    directory as `BuildKit` does, without what the request leaves out besides, and digests every
//!    file that is kept. [`Context::scan_for`] also leaves out what no instruction of the Dockerfile
//!    reads.
//! 2. [`Manifest::digest`] is what the image's version is derived from. It does not depend on the
//!    machine: not on where the context lies, nor on times, owners or umask. Except that on
//!    Windows, which has no executable bit, it is taken as set, so that versions made there differ.
//! 3. [`TarStream`] writes the entries as an archive, checks while doing so that every file is still
//!    the one that was digested, and never holds one in memory. [`GzipMembers`] compresses it so
//!    that the far side cannot take a part for the whole, and [`byte_stream`] carries it from a
//!    blocking thread to whoever sends it.
//!
//! ```no_run
//! use garden_build_core::context::{Context, ContextError, TarStream};
//! use garden_build_core::BuildRequest;
//!
//! let context = Context::scan(&BuildRequest::new("api", "./services/api"), &|| false)?;
//! println!("{} files, {}", context.manifest().file_count(), context.manifest().digest());
//! let mut tar = TarStream::new(Vec::new());
//! tar.add_context(&context, &|| false, &mut |bytes| println!("{bytes} bytes"))?;
//! let archive = tar.finish()?;
//! # Ok::<(), ContextError>(())
//! ```

mod archive;
mod digest_cache;
pub(crate) mod dockerfile;
mod error;
pub mod go_path;
mod large;
mod manifest;
mod open_directory;
mod path_bytes;
mod read;
mod scan;
pub(crate) mod select;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

pub use archive::{
    ByteStream, ChunkWriter, GZIP_HEADER, GzipMembers, MODIFIED, TarHeader, TarStream, byte_stream, padding,
};
pub use digest_cache::DigestCache;
pub use dockerfile::{Dockerfile, Feature, StagesBuilt, Use};
pub use error::ContextError;
pub use large::{LargeContext, LargePart};
pub use manifest::{Entry, EntryKind, Manifest};
pub use open_directory::{Attributes, FileKind, Listed, OpenDirectory};
pub use path_bytes::PathBytes;
pub use read::CheckedFile;
pub use scan::LeftOut;
pub use select::{
    Extent, Filter, FilterError, GlobError, GlobFilter, GlobProblem, IgnoreRules, PatternProblem, Reader,
    Sieve, Verdict,
};

use self::select::{Selection, Wanted, extent};
use crate::BuildRequest;

/// Asks whether to stop. Called often and from several threads.
pub type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// A build context: the files that a build can see, and its Dockerfile. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    tree: Tree,
    dockerfile: Dockerfile,
    extent: Extent,
}

/// The files of a directory that a build can see. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tree {
    root: OpenDirectory,
    manifest: Manifest,
    left_out: Option<LeftOut>,
    /// Where digests in the manifest may come from.
    cache: DigestCache,
}

impl Context {
    /// Scans the whole context of `request`, and reads every file of it. Blocks, and uses as many threads as there are
    /// processors.
    ///
    /// Symbolic links are kept as they are and never followed, except the context directory itself. This holds for
    /// what becomes a link during the scan as well: all is reached from the descriptor of that directory, which
    /// stays open as long as the context is kept.
    /// Hard links become ordinary files, and empty directories are kept. Sockets and FIFOs are
    /// [left out](Tree::left_out).
    ///
    /// # Errors
    /// If the directory, the Dockerfile, an ignore file or anything that is not ignored cannot be
    /// read or cannot be part of a context, if a pattern cannot be used, and
    /// [`ContextError::Cancelled`] soon after `cancelled` returns `true`.
    pub fn scan(request: &BuildRequest, cancelled: Cancelled<'_>) -> Result<Self, ContextError> {
        Self::scan_with(request, &DigestCache::none(), cancelled)
    }

    /// Scans the whole context of `request`, and reads only the files that have changed since the last scan with this `cache`.
    ///
    /// # Errors
    /// Those of [`scan`](Self::scan). A damaged cache is never an error.
    pub fn scan_with(
        request: &BuildRequest,
        cache: &DigestCache,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ContextError> {
        let whole = |_: &OpenDirectory, _: &Dockerfile| (Extent::Whole(None), Wanted::Everything);
        Self::scan_extent(request, whole, cache, cancelled).map_err(|error| error.shown_by(request))
    }

    /// Scans what of the context of `request` the `reader` can read, as far as the Dockerfile tells; if in
    /// doubt, the whole context. The [`extent`](Self::extent) says what became of it.
    ///
    /// # Errors
    /// Those of [`scan_with`](Self::scan_with). A missing file that the Dockerfile reads is not among them: the builder reports it.
    pub fn scan_for(
        request: &BuildRequest,
        reader: &Reader<'_>,
        cache: &DigestCache,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ContextError> {
        let extent =
            |root: &OpenDirectory, dockerfile: &Dockerfile| extent::of(request, reader, root, dockerfile);
        Self::scan_extent(request, extent, cache, cancelled).map_err(|error| error.shown_by(request))
    }

    fn scan_extent(
        request: &BuildRequest,
        extent: impl FnOnce(&OpenDirectory, &Dockerfile) -> (Extent, Wanted),
        cache: &DigestCache,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ContextError> {
        let root = open(&request.directory)?;
        let path = dockerfile::relative_path(&request.dockerfile)?;
        let dockerfile = Dockerfile::read(&root, &path)?;
        let mut selection = Selection::of(request, IgnoreRules::of_dockerfile(&root, &path)?)?;
        let (extent, wanted) = extent(&root, &dockerfile);
        selection.wanted = wanted;
        let tree = Tree::of(root, &selection, cache, cancelled)?;
        Ok(Self { tree, dockerfile, extent })
    }

    /// Returns how much of the directory was taken into the context.
    pub fn extent(&self) -> &Extent {
        &self.extent
    }

    /// Returns the context's files.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the context directory, absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        self.tree.root()
    }

    /// Returns what the context consists of.
    pub fn manifest(&self) -> &Manifest {
        self.tree.manifest()
    }

    /// Returns the Dockerfile, which need not be part of the [`manifest`](Self::manifest).
    pub fn dockerfile(&self) -> &Dockerfile {
        &self.dockerfile
    }
}

impl Tree {
    /// Scans `directory` like a build context that has no Dockerfile: only its `.dockerignore` counts.
    ///
    /// # Errors
    /// Those of [`Context::scan`].
    pub fn scan(directory: &Path, cancelled: Cancelled<'_>) -> Result<Self, ContextError> {
        Self::scan_by(directory, false, &DigestCache::none(), cancelled)
    }

    /// Scans `directory` as a named context of `request`, which says whether permissions are preserved. Reads only the files
    /// that have changed since the last scan with this `cache`.
    ///
    /// # Errors
    /// Those of [`Context::scan`].
    pub fn scan_with(
        request: &BuildRequest,
        directory: &Path,
        cache: &DigestCache,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ContextError> {
        Self::scan_by(directory, request.preserve_permissions, cache, cancelled)
    }

    fn scan_by(
        directory: &Path,
        preserves_permissions: bool,
        cache: &DigestCache,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ContextError> {
        let root = open(directory)?;
        let selection = Selection::by_rules(IgnoreRules::of_directory(&root)?, preserves_permissions);
        Self::of(root, &selection, cache, cancelled)
    }

    fn of(
        root: OpenDirectory,
        selection: &Selection,
        cache: &DigestCache,
        cancelled: Cancelled<'_>,
    ) -> Result<Self, ContextError> {
        let (manifest, left_out) = scan::scan(&root, selection, cache, cancelled)?;
        Ok(Self { root, manifest, left_out, cache: cache.clone() })
    }

    /// Returns the directory, absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns what it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns which sockets and FIFOs were left out, if there are any. The manifest says nothing of them.
    pub fn left_out(&self) -> Option<&LeftOut> {
        self.left_out.as_ref()
    }

    /// Opens a file of the [`manifest`](Self::manifest), to be read as long as it is what was digested.
    ///
    /// # Errors
    /// [`ContextError::Changed`] if `entry` is not an ordinary file any more, or never was one.
    pub fn open(&self, entry: &Entry) -> Result<CheckedFile, ContextError> {
        match entry.kind {
            EntryKind::File { size, digest, .. } => {
                let file = CheckedFile::open(&self.root, &entry.path, size, Some(digest))?;
                Ok(file.distrusting(&self.cache))
            }
            _ => Err(ContextError::Changed(entry.path.clone())),
        }
    }
}

fn open(directory: &Path) -> Result<OpenDirectory, ContextError> {
    let path = || directory.to_owned();
    OpenDirectory::open(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ContextError::RootMissing(path()),
        io::ErrorKind::NotADirectory => ContextError::RootNotADirectory(path()),
        _ => ContextError::RootUnreadable { path: path(), reason: error },
    })
}
