//! The build mode of the demo, and what it has to know of the testbed.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;
use garden_build::config::{
    BuildMode, ClusterBuildkitOptions, ClusterDockerOptions, DeploymentRegistry, ProviderConfig,
};

use super::Options;
use crate::testbed;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Mode {
    Kaniko,
    ClusterBuildkit,
    ClusterDocker,
    LocalDocker,
}

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

/// Has local-docker find the daemon of the testbed, as it would be found on a developer's machine: the
/// process begins anew with the variable that names it, unless it has it already.
pub(super) fn use_daemon_of(testbed: &testbed::Environment) -> Result<()> {
    let daemon = testbed.variables.get("GARDEN_TEST_DOCKER_HOST").context("the testbed names no daemon")?;
    if env::var("DOCKER_HOST").is_ok_and(|host| host == *daemon) {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    again.args(env::args_os().skip(1)).env("DOCKER_HOST", daemon).env_remove("DOCKER_TLS_VERIFY");
    Err(again.exec()).context("running the demo with the testbed's Docker daemon")
}
