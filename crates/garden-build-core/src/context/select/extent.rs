//! How much of a directory goes into a context: all of it, or what the Dockerfile reads.
//!
//! # Base images
//! An image may have `ONBUILD` triggers, which are instructions that a Dockerfile does not show and that read
//! files, too. Only its registry knows. But a version is made of what lies in the directory, and must neither
//! depend on whether some registry can be reached nor wait for it, so the Dockerfile alone decides: base images
//! are taken to have no triggers, unless their name says so. [`Extent::Read`] names them, and whoever builds
//! has to make sure of it before there is an image: one that has triggers is built from the whole context,
//! under the version of that. An image that exists was built from what its version says either way.

use super::wanted::Wanted;
use crate::context::dockerfile::{StagesBuilt, reads};
use crate::context::{Dockerfile, OpenDirectory};
use crate::{BuildRequest, ImageFlag};

/// How much of a directory was taken into a context.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Extent {
    /// All that the request selects: because that was asked for or, with the reason, because the build reads all of
    /// it, or may.
    Whole(Option<String>),
    /// What the Dockerfile's stages read, provided that none of these images, as the Dockerfile calls
    /// them, has triggers (`ONBUILD`) that read more. Both lists are in order.
    Read {
        /// The paths and patterns that they read, relative to the context, and without detours. A link on the
        /// way leads on to its target.
        sources: Vec<String>,
        /// The images.
        bases: Vec<String>,
    },
}

/// Who reads a context, as far as it decides what of it can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Reader<'a> {
    /// Which stages are built.
    pub stages: StagesBuilt,
    /// The builder's flags that can change the image
    /// ([`Backend::image_flags`](crate::Backend::image_flags)), and whether it reads more because of them.
    pub flags: &'a [ImageFlag],
}

impl<'a> Reader<'a> {
    /// A builder that builds these `stages` and has these `flags`.
    pub fn new(stages: StagesBuilt, flags: &'a [ImageFlag]) -> Self {
        Self { stages, flags }
    }
}

/// Decides what of `root` the `reader` can read when it builds `request`.
pub(in crate::context) fn of(
    request: &BuildRequest,
    reader: &Reader<'_>,
    root: &OpenDirectory,
    dockerfile: &Dockerfile,
) -> (Extent, Wanted) {
    if request.whole_context {
        return (Extent::Whole(None), Wanted::Everything);
    }
    if let Some(flag) = reader.flags.iter().find(|flag| flag.may_read_more) {
        let flag = flag.words.first().map_or("a flag", String::as_str);
        return whole(format!("`{flag}` may change what is read"));
    }
    let read = match reads(dockerfile.contents(), request, reader.stages) {
        Ok(read) => read,
        Err(doubt) => return whole(format!("what {} reads is not certain: {doubt}", dockerfile.path())),
    };
    match Wanted::of(&read.sources, root) {
        Err(reason) => whole(format!("{}: {reason}", dockerfile.path())),
        Ok(wanted) => {
            let (sources, bases) = (read.sources.into_iter().collect(), read.bases.into_iter().collect());
            (Extent::Read { sources, bases }, wanted)
        }
    }
}

fn whole(reason: String) -> (Extent, Wanted) {
    (Extent::Whole(Some(reason)), Wanted::Everything)
}
