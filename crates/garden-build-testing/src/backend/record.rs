use std::collections::BTreeMap;

use garden_build_core::context::{EntryKind, Manifest};
use garden_build_core::{
    BuildControl, BuildJob, BuildRequest, Digest, ErrorKind, ImageReference, TraceContext,
};

/// A build that a [`ScriptedBackend`](super::ScriptedBackend) was asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildRecord {
    /// Identifies it among all builds.
    pub id: String,
    /// What was asked for: the name, build arguments, platforms, labels and so on.
    pub request: BuildRequest,
    /// The image's name.
    pub destination: ImageReference,
    /// The name that the builder pushes to.
    pub push_to: ImageReference,
    /// The files and links of the build context, relative to it, in order. What no instruction of the Dockerfile reads is not among them.
    pub files: Vec<String>,
    /// The digest of the build context.
    pub context: Digest,
    /// The files and links of the named contexts that are directories, by name.
    pub named_contexts: BTreeMap<String, Vec<String>>,
    /// The span that the builder's own spans belong to.
    pub trace_context: Option<TraceContext>,
    /// Whether the registry has shown what was pushed, if the script [asks](super::Script::ask_registry).
    pub is_witnessed: Option<bool>,
    /// How it has ended.
    pub end: BuildEnd,
}

/// How a build has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BuildEnd {
    /// It has not.
    UnderWay,
    /// It has pushed the image of this digest, or has said so.
    Pushed(Digest),
    /// It has failed.
    Failed(ErrorKind),
    /// It was cancelled, or its time was over, and it has cleaned up.
    Stopped(ErrorKind),
    /// Its future was dropped before the end.
    Dropped,
}

impl BuildRecord {
    pub(super) fn new(job: &BuildJob, cx: &BuildControl) -> Self {
        let named = job.named_contexts.iter();
        Self {
            id: job.id.clone(),
            request: job.request.clone(),
            destination: job.destination.clone(),
            push_to: job.push_to.clone(),
            files: files(job.context.manifest()),
            context: job.context.manifest().digest(),
            named_contexts: named.map(|(name, tree)| (name.clone(), files(tree.manifest()))).collect(),
            trace_context: cx.trace_context.clone(),
            is_witnessed: None,
            end: BuildEnd::UnderWay,
        }
    }
}

fn files(manifest: &Manifest) -> Vec<String> {
    let entries = manifest.entries().filter(|entry| entry.kind != EntryKind::Directory);
    entries.map(|entry| entry.path.to_string()).collect()
}
