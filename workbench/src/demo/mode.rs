//! The build mode of the demo, and what it has to know of the testbed.

use anyhow::Result;
use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, ClusterDockerOptions, DeploymentRegistry, ProviderConfig,
};

use xtask::demo::{Mode, Options};

use crate::testbed;

/// Has the provider build as the options say, with the options that its project file has for that mode.
pub(super) fn set(options: &Options, testbed: bool, provider: &mut ProviderConfig) -> Result<()> {
    let written = std::mem::take(&mut provider.build_mode);
    provider.build_mode = match (options.mode, written) {
        (Mode::Kaniko, written) => written,
        (Mode::LocalDocker, _) => BuildMode::LocalDocker,
        (Mode::ClusterBuildkit, written) => {
            let mut buildkit = match written {
                BuildMode::ClusterBuildkit(buildkit) => buildkit,
                _ => ClusterBuildkitOptions::default(),
            };
            buildkit.rootless |= options.rootless;
            if testbed {
                buildkit.image = Some(testbed::buildkit_image(buildkit.rootless).to_owned());
                // The testbed has no way out, but its registry has the base images.
                if let Some(mirror) = &provider.deployment_registry {
                    buildkit.registry_mirrors.insert("docker.io".to_owned(), mirror.host());
                    let mut registry = DeploymentRegistry::new(&mirror.host())?;
                    registry.insecure = mirror.insecure;
                    buildkit.registries.push(registry);
                }
            }
            BuildMode::ClusterBuildkit(buildkit)
        }
        (Mode::ClusterDocker, written) => {
            let mut docker = match written {
                BuildMode::ClusterDocker(docker) => docker,
                _ => ClusterDockerOptions::default(),
            };
            if testbed {
                docker.image = Some(testbed::docker_image().to_owned());
            }
            BuildMode::ClusterDocker(docker)
        }
    };
    Ok(())
}
