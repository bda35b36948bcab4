//! Warnings about build contexts with files that probably nobody meant to send.
//!
//! Why: docs/decisions/15-suspicions-are-warnings.md

use std::collections::BTreeMap;

use garden_build_core::context::{Context, EntryKind, Extent, LargeContext, Manifest, Tree};
use garden_build_core::{Caveat, WarningCode, WarningData};

/// Describes what is suspicious in the contexts of a build.
pub(super) fn caveats(context: &Context, named: &BTreeMap<String, Tree>) -> Vec<Caveat> {
    let mut caveats = of(None, context.manifest(), context.extent());
    for (name, tree) in named {
        caveats.extend(of(Some(name), tree.manifest(), &Extent::Whole(None)));
    }
    caveats
}

/// `name` is that of a named context.
fn of(name: Option<&str>, manifest: &Manifest, extent: &Extent) -> Vec<Caveat> {
    let what = name.map_or_else(|| "the build context".to_owned(), |name| format!("the context `{name}`"));
    let context = || name.map(str::to_owned);
    let large = LargeContext::of(manifest).map(|size| {
        large_context(&what, &size).with_data(WarningData::LargeContext { context: context(), size })
    });
    let repository = repository(&what, manifest, extent)
        .map(|caveat| caveat.with_data(WarningData::File { context: context(), path: ".git".to_owned() }));
    large.into_iter().chain(repository).collect()
}

fn large_context(what: &str, large: &LargeContext) -> Caveat {
    let lines: Vec<String> = large.largest.iter().map(|part| format!("`{}`", part.pattern)).collect();
    Caveat::new(
        WarningCode::LargeContext,
        format!("{what} is unusually large: {large}"),
        format!(
            "leave out what the build does not need: each of these can be a line of .dockerignore, or of the Dockerfile's own ignore \
             file if it has one: {}",
            lines.join(", ")
        ),
    )
}

/// States that a repository's own files are part of a context of this `extent`.
///
/// Docker and `BuildKit` send a `.git` that no ignore file names, and a build may read a version from it, so it is not left out. Only
/// of contexts that `BuildKit` clones itself, it is, unless the build argument `BUILDKIT_CONTEXT_KEEP_GIT_DIR` is set. (Source: Docker's
/// documentation, "Build context", "Keep git directory".)
///
/// Nothing is said if an instruction names it, as then somebody wants it, and nothing of single files in it that an ignore file
/// brings back (`!.git/HEAD`).
fn repository(what: &str, manifest: &Manifest, extent: &Extent) -> Option<Caveat> {
    let is_known_what_is_read = matches!(extent, Extent::Read { .. });
    if let Extent::Read { sources, .. } = extent
        && sources.iter().any(|source| source == ".git" || source.starts_with(".git/"))
    {
        return None;
    }
    let message = if matches!(manifest.find(".git")?.kind, EntryKind::File { .. }) {
        format!(
            "{what} has a file `.git`, which says where the repository is on this machine: elsewhere, the same sources are another \
             version"
        )
    } else if manifest.find(".git/objects").is_some() {
        format!(
            "{what} has the repository `.git`, which each commit and each fetch change: then the image is built again, as another \
             version, though no source has changed"
        )
    } else {
        return None;
    };
    let mut hint =
        "add the line `.git` to .dockerignore, or to the Dockerfile's own ignore file if it has one"
            .to_owned();
    if is_known_what_is_read {
        hint += "; or, if the build needs it, name it in an instruction, such as `COPY .git .git`";
    }
    Some(Caveat::new(WarningCode::RepositoryInContext, message, hint))
}
