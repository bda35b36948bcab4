//! From a directory to a [`Manifest`].
//!
//! Why: docs/decisions/14-what-nobody-reads-ends-no-build.md

mod digest;
mod left_out;
mod system;
mod threads;
mod walk;

use super::digest_cache::{DigestCache, Session};
use super::select::{GitIgnore, Selection};
use super::{Cancelled, ContextError, Manifest, OpenDirectory};

pub use self::left_out::LeftOut;

/// Finds what `selection` wants of `root`, and digests those files whose digests `cache` does not know. Returns also
/// what is left out though it is wanted.
pub(super) fn scan(
    root: &OpenDirectory,
    selection: &Selection,
    cache: &DigestCache,
    cancelled: Cancelled<'_>,
) -> Result<(Manifest, Option<LeftOut>), ContextError> {
    let Some(ignored) = GitIgnore::above(root, selection.ignore_files.as_ref())? else {
        return Ok((Manifest::new(Vec::new()), None));
    };
    let session = Session::open(cache, root);
    let (mut walked, left_out) = walk::walk(root, selection, ignored, &session, cancelled)?;
    digest::digest(root, selection, &mut walked, &session, cancelled)?;
    session.finish();
    Ok((Manifest::new(walked.into_iter().map(|walked| walked.folder).collect()), left_out))
}
