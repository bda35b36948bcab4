//! What the failure of a step means.

use garden_registry::is_complaint_about_tls;

/// What the failure of a step means to the build.
pub(super) enum Trouble {
    /// It fails, too.
    Failure(String),
    /// Nothing: no build has written this cache yet.
    NoCacheYet,
    /// It goes on without this cache, in this build or in the next one.
    Cache { warning: String, hint: &'static str, error: String },
}

/// Caches are read and written in steps of their own.
///
/// Sources: `BuildKit` 0.25 and 0.26, `solver/llbsolver/bridge.go` (`cmKey`) and `cache/remotecache/registry/registry.go`; Go,
/// `context`, whose words end whatever was stopped by it.
pub(super) fn trouble(step: &str, error: String) -> Trouble {
    const CREDENTIALS: &str = "the cluster has to reach the registries of `clusterBuildkit.cache`, and `imagePullSecrets` \
        needs credentials for them; a layer with `export: false` is not written";
    const TLS: &str = "set `insecure` of this registry if it speaks plain HTTP, or `caCertificate`, where `clusterBuildkit.cache` names \
        it, or in `deploymentRegistry`";
    let hint = if is_complaint_about_tls(&error) { TLS } else { CREDENTIALS };
    let reads = step.strip_prefix("importing cache manifest from ");
    let writes = step.starts_with("exporting cache to ");
    // It was stopped with the build.
    if error.ends_with("context canceled") {
        return Trouble::Failure(error);
    }
    match reads {
        Some(_) if error.ends_with(": not found") => Trouble::NoCacheYet,
        Some(cache) => {
            let warning = format!("the cache {cache} could not be read: {error}");
            Trouble::Cache { warning, hint, error }
        }
        None if writes => {
            let warning = format!("the cache could not be written, so later builds may take longer: {error}");
            Trouble::Cache { warning, hint, error }
        }
        None => Trouble::Failure(error),
    }
}
