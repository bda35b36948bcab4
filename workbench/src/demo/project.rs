//! `cargo xtask demo --project`: builds everything that `examples/project` says, in both of its environments and
//! three modes.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use garden_build::Builder;
use garden_build::config::{BuildMode, DeploymentRegistry, Environment, Project, ProviderConfig, SecretRef};
use garden_build_frontend::{Format, Session};
use xtask::demo::Options;

use super::{build, run_as_pod};
use crate::testbed;

/// Each environment, perhaps with a namespace of its own, and the variables that are set from outside.
const RUNS: [(&str, &[(&str, bool)]); 3] =
    [("dev", &[]), ("preview", &[]), ("rootless.preview", &[("rootless", true)])];

pub(super) async fn show(options: &Options, testbed: &testbed::Environment) -> Result<()> {
    let session = Session::begin(Format::of_standard_error())?;
    for (name, variables) in RUNS {
        let mut project = load(options, testbed)?;
        for (variable, value) in variables {
            project = project.with_variable(variable, *value);
        }
        let release = format!("demo-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
        let project = project.with_variable("release", release);
        show_environment(&session, &project.environment(name)?, options, testbed).await?;
    }
    Ok(())
}

async fn show_environment(
    session: &Session,
    environment: &Environment<'_>,
    options: &Options,
    testbed: &testbed::Environment,
) -> Result<()> {
    let mut provider = environment.provider()?;
    let how = match &provider.build_mode {
        BuildMode::ClusterBuildkit(buildkit) if buildkit.rootless => "cluster-buildkit, rootless",
        mode => mode.as_str(),
    };
    println!(
        "\n--- the environment `{}`: {how}, in the namespace {}",
        environment.name(),
        provider.namespace.name
    );
    for notice in &provider.notices {
        println!("note: {notice}");
    }
    adapt(&mut provider, options, testbed)?;

    let builder = Builder::options(provider.clone()).connect()?;
    for name in environment.builds()? {
        println!("\n--- build `{name}`");
        let image = build(session, &builder, environment.build(&name)?.request()).await?;
        println!(
            "as a pod it says: {}",
            run_as_pod(&provider, &image.reference.at(image.digest)).await?.trim()
        );
    }
    Ok(())
}

/// Loads the project with the registry that the options or the testbed have.
fn load(options: &Options, testbed: &testbed::Environment) -> Result<Project> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples").join("project");
    let project = garden_build::config::load(directory)?;
    let (registry, insecure) = match (&options.registry, testbed.variables.get("GARDEN_TEST_REGISTRY")) {
        (Some(registry), _) => (DeploymentRegistry::new(registry)?, options.insecure),
        (None, Some(host)) if testbed.owned => (DeploymentRegistry::new(&format!("{host}/project"))?, true),
        (None, _) => bail!("this cluster needs a registry to push to: --registry HOST[:PORT]/NAMESPACE"),
    };
    let namespace =
        registry.namespace.clone().context("--registry needs a namespace: HOST[:PORT]/NAMESPACE")?;
    Ok(project
        .with_variable("registry.hostname", registry.host())
        .with_variable("registry.namespace", namespace)
        .with_variable("registry.insecure", insecure))
}

/// Adds what is special about the cluster: the testbed has its images, and has no way out.
fn adapt(provider: &mut ProviderConfig, options: &Options, testbed: &testbed::Environment) -> Result<()> {
    if let Some(secret) = &options.pull_secret {
        let (namespace, name) = secret.split_once('/').context("--pull-secret is NAMESPACE/NAME")?;
        provider.image_pull_secrets.push(SecretRef::new(name).in_namespace(namespace));
    }
    if !testbed.owned {
        return Ok(());
    }
    let mirror = provider.deployment_registry.as_ref().map(DeploymentRegistry::host).unwrap_or_default();
    provider.kubeconfig = testbed.variables.get("KUBECONFIG").map(Into::into);
    match &mut provider.build_mode {
        BuildMode::Kaniko(kaniko) => {
            let image = testbed.variables.get("GARDEN_TEST_KANIKO_DEBUG_IMAGE");
            image.context("the testbed names no kaniko image")?.clone_into(&mut kaniko.image);
            kaniko.extra_flags.push(format!("--registry-mirror={mirror}"));
        }
        BuildMode::ClusterBuildkit(buildkit) => {
            buildkit.image = Some(testbed::buildkit_image(buildkit.rootless).to_owned());
            buildkit.registry_mirrors.insert("docker.io".to_owned(), mirror);
        }
        _ => {}
    }
    Ok(())
}
