//! Chooses the backend for the provider's build mode, and says what it needs. Each mode is compiled in by a feature of its own.

#[cfg(feature = "buildkit")]
mod buildkit;
#[cfg_attr(not(feature = "docker"), path = "mode/no_docker.rs")]
mod docker;
#[cfg(feature = "kaniko")]
mod kaniko;
mod service;

use std::fmt::Debug;
use std::sync::Arc;

use garden_build_core::{
    Backend, BuildRequest, Error, ErrorKind, ImageReference, MissingCapability, Remedy, Result,
};
use garden_cluster::{Cluster, ImageSources, RegistryAccess};
use garden_config::{BuildMode, ProviderConfig};
#[cfg(feature = "docker")]
use garden_docker::ClusterDaemon;

pub(crate) use docker::LocalDocker;
pub(crate) use service::Service;

use crate::target::Target;

/// What builds images, and what it needs in the cluster besides its builders.
pub(crate) struct Mode {
    pub(crate) backend: Arc<dyn Backend>,
    /// What it needs besides builders, if something.
    pub(crate) service: Option<Arc<dyn Service>>,
    /// The Docker daemon in the cluster, if it builds. It is the service.
    #[cfg(feature = "docker")]
    pub(crate) daemon: Option<ClusterDaemon>,
    pub(crate) bases: Arc<dyn BaseSources>,
    /// Whether its builders are in the cluster.
    pub(crate) is_in_cluster: bool,
}

/// Where a mode's builders look for base images.
pub(crate) trait BaseSources: Debug + Send + Sync {
    /// Returns the places where a build of `request` looks for `image`, one after the other.
    fn of(&self, request: &BuildRequest, image: &ImageReference) -> Vec<(RegistryAccess, ImageReference)>;
}

/// In the same places for each build. Docker daemons are not asked which: what they build from may be in them already.
impl BaseSources for ImageSources {
    fn of(&self, _: &BuildRequest, image: &ImageReference) -> Vec<(RegistryAccess, ImageReference)> {
        self.of(image)
    }
}

impl Mode {
    /// Builds with `backend`, which needs nothing else.
    pub(crate) fn of(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            service: None,
            #[cfg(feature = "docker")]
            daemon: None,
            bases: Arc::new(ImageSources::default()),
            is_in_cluster: false,
        }
    }
}

/// Checks that `backend` can do what `request` asks for.
///
/// # Errors
/// [`ErrorKind::Unsupported`], naming the first field that it cannot honour, and what can; or what the backend says.
pub(crate) fn check(backend: &dyn Backend, request: &BuildRequest) -> Result<()> {
    let Some(missing) = backend.capabilities().missing_for(request) else { return backend.accept(request) };
    let hint = match missing {
        MissingCapability::MultiplePlatforms => "request one build per platform",
        _ => {
            "BuildKit can: the build mode `cluster-buildkit`, `cluster-docker` with `enableBuildKit`, and `local-docker` with a daemon that has it"
        }
    };
    Err(missing.error(backend.name(), hint))
}

/// The features of modes that this program was compiled with.
const COMPILED: &[&str] = &[
    #[cfg(feature = "buildkit")]
    "buildkit",
    #[cfg(feature = "docker")]
    "docker",
    #[cfg(feature = "kaniko")]
    "kaniko",
];

/// Checks that this program has what builds as `mode` says.
///
/// # Errors
/// [`ErrorKind::Unsupported`], naming the feature that it lacks.
pub(crate) fn check_compiled(mode: &BuildMode) -> Result<()> {
    check_among(COMPILED, mode)
}

fn check_among(compiled: &[&str], mode: &BuildMode) -> Result<()> {
    let feature = match mode {
        BuildMode::Kaniko(_) => "kaniko",
        BuildMode::ClusterBuildkit(_) => "buildkit",
        BuildMode::ClusterDocker(_) | BuildMode::LocalDocker => "docker",
        _ => return Err(unknown(mode)),
    };
    if compiled.contains(&feature) {
        return Ok(());
    }
    let message = format!(
        "this program cannot build with `buildMode: {}`: it was compiled without the feature `{feature}` of garden-build",
        mode.as_str()
    );
    let hint = "set `buildMode` to a mode that the program has, or compile it with that feature";
    Err(Error::new(ErrorKind::Unsupported, message).with_hint(Remedy::set(&["buildMode"], hint)))
}

fn unknown(mode: &BuildMode) -> Error {
    Error::new(ErrorKind::Unsupported, format!("`buildMode`: {} is not supported", mode.as_str()))
}

/// Returns the mode that builds as `provider` says and pushes to `target`; `local` is where local-docker builds.
///
/// # Errors
/// If the mode's options cannot be used, or it [was not compiled in](check_compiled).
#[cfg_attr(not(feature = "docker"), allow(unused_variables, reason = "of modes that are not compiled in"))]
pub(crate) fn mode(
    provider: &ProviderConfig,
    cluster: &Cluster,
    target: &Target,
    local: &LocalDocker,
) -> Result<Mode> {
    match &provider.build_mode {
        #[cfg(feature = "kaniko")]
        BuildMode::Kaniko(options) => kaniko::mode(options, provider, cluster, target),
        #[cfg(feature = "buildkit")]
        BuildMode::ClusterBuildkit(options) => buildkit::mode(options, provider, cluster, target),
        #[cfg(feature = "docker")]
        BuildMode::ClusterDocker(options) => docker::in_cluster(options, provider, cluster, target),
        #[cfg(feature = "docker")]
        BuildMode::LocalDocker => Ok(docker::local(local, provider, cluster, target)),
        other => Err(unknown(other)),
    }
}

#[cfg(test)]
mod tests {
    use garden_config::{ClusterBuildkitOptions, ClusterDockerOptions, KanikoOptions};

    use super::*;

    #[test]
    fn a_mode_that_is_not_compiled_in_is_refused_with_its_feature() {
        let modes = [
            ("kaniko", BuildMode::Kaniko(KanikoOptions::default())),
            ("buildkit", BuildMode::ClusterBuildkit(ClusterBuildkitOptions::default())),
            ("docker", BuildMode::ClusterDocker(ClusterDockerOptions::default())),
            ("docker", BuildMode::LocalDocker),
        ];
        for (feature, mode) in &modes {
            check_among(&[feature], mode).expect("compiled in");
            let others: Vec<_> =
                ["buildkit", "docker", "kaniko"].into_iter().filter(|other| other != feature).collect();
            let refused = check_among(&others, mode).expect_err("not compiled in");
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
            let said =
                format!("`buildMode: {}`: it was compiled without the feature `{feature}`", mode.as_str());
            assert!(refused.message().contains(&said), "{refused}");
        }
    }
}
