//! `cargo xtask demo`: builds a small application in a real cluster and runs it there.

mod mode;
mod project;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use garden_build::config::{BuildMode, DeploymentRegistry, ProviderConfig, SecretRef};
use garden_build::docker::DockerDaemon;
use garden_build::{BuildRequest, Builder, BuiltImage, Outcome};
use garden_build_frontend::{Format, Session};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tempfile::TempDir;
use xtask::demo::{Mode, Options};

use crate::testbed;

const RUN_PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(options: &Options) -> Result<()> {
    let environment = testbed::up(options.parts())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if options.project {
        return runtime.block_on(project::show(options, &environment));
    }
    let mut provider = provider(options, environment.owned)?;
    mode::set(options, environment.owned, &mut provider)?;
    if options.in_cluster_registry {
        provider.deployment_registry = None;
        provider.image_pull_secrets.clear();
        if environment.owned {
            provider.in_cluster_registry.image = Some(testbed::registry_image().to_owned());
        }
    }
    if environment.owned {
        provider.kubeconfig = environment.variables.get("KUBECONFIG").map(Into::into);
    }
    // On a machine of a user's, it is the daemon of the `docker` command.
    let daemon = environment.variables.get("GARDEN_TEST_DOCKER_HOST").filter(|_| environment.owned);
    runtime.block_on(show(provider, daemon.map(String::as_str)))?;

    print_what_next(options.mode, environment.owned);
    Ok(())
}

fn print_what_next(mode: Mode, testbed: bool) {
    println!("\nGo on:");
    if !testbed {
        println!(
            "  set the registry of the environment `dev` in examples/app/project.garden.yml to yours; then"
        );
        println!("  cargo run --example quickstart -- dev  the same in ten lines of Rust");
        println!("  cargo run --example plan -- dev        what a build would create, without creating it");
        return;
    }
    // The examples build with kaniko, which a testbed for another mode lacks.
    if mode == Mode::Kaniko {
        println!("  eval \"$(cargo xtask testbed env)\"  use this cluster from your shell; then");
        println!("  cargo run --example quickstart     the same in ten lines of Rust");
        println!("  cargo run --example plan           what a build would create");
    } else {
        println!("  cargo xtask demo                   the same with kaniko");
    }
    println!("  cargo xtask testbed down           stop the cluster");
}

/// Reads the demo's project file, for the testbed or for the user's own cluster.
fn provider(options: &Options, testbed: bool) -> Result<ProviderConfig> {
    let project = garden_build::config::load(application().join("project.garden.yml"))?;
    let mut provider = project.provider(if testbed { "testbed" } else { "dev" })?;
    if let Some(registry) = &options.registry {
        let mut registry = DeploymentRegistry::new(registry)?;
        registry.insecure = options.insecure;
        provider.deployment_registry = Some(registry);
        provider.image_pull_secrets.clear();
    }
    if let Some(secret) = &options.pull_secret {
        let (namespace, name) = secret.split_once('/').context("--pull-secret is NAMESPACE/NAME")?;
        provider.image_pull_secrets.push(SecretRef::new(name).in_namespace(namespace));
    }
    Ok(provider)
}

async fn show(provider: ProviderConfig, daemon: Option<&str>) -> Result<()> {
    let session = Session::begin(Format::of_standard_error())?;
    let builder = match daemon.filter(|_| provider.build_mode == BuildMode::LocalDocker) {
        Some(address) => {
            let client = client(&provider).await?;
            Builder::options(provider.clone()).client(client).docker(DockerDaemon::at(address)?).connect()?
        }
        None => Builder::options(provider.clone()).connect()?,
    };
    let registry = provider.in_cluster_registry_namespace().map(|_| "a registry");
    let daemon = matches!(provider.build_mode, BuildMode::ClusterDocker(_)).then_some("a Docker daemon");
    let installed: Vec<_> = [registry, daemon].into_iter().flatten().collect();
    if !installed.is_empty() {
        println!("\n--- install {} in the cluster, or find it installed", installed.join(" and "));
        let installed = session.follow("Installing", builder.init()).await?;
        if let Some(nodes) = installed.registry_nodes {
            println!("the registry serves, and these nodes have pulled from it: {}", nodes.join(", "));
        }
    }
    // A copy, because the demo changes a file; and a release that no earlier demo has built.
    let copy = copy_of(&application())?;
    let release = format!("demo-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let request =
        || BuildRequest::new("app", copy.path()).shown_as("examples/app").build_arg("RELEASE", &release);

    println!("\n--- build examples/app with {}", provider.build_mode.as_str());
    build(&session, &builder, request()).await?;
    println!("\n--- build it again, unchanged");
    build(&session, &builder, request()).await?;
    println!("\n--- change one file and build it again");
    let script = copy.path().join("serve.sh");
    fs::write(&script, fs::read_to_string(&script)? + "echo '--- that was all'\n")?;
    let image = build(&session, &builder, request()).await?;

    println!("\n--- run it as a pod in the cluster; it says:");
    if provider.build_mode == BuildMode::LocalDocker {
        make_namespace(&provider).await?;
    }
    let printed = run_as_pod(&provider, &image.reference.at(image.digest)).await?;
    for line in printed.lines() {
        println!("   {line}");
    }
    Ok(())
}

async fn build(session: &Session, builder: &Builder, request: BuildRequest) -> Result<BuiltImage> {
    let image = session.follow("Building", builder.build(request)).await?;
    let seconds = image.duration.as_secs_f64();
    println!("{}@{}", image.reference, image.digest);
    match image.outcome {
        Outcome::AlreadyExists => println!("nothing was built: the image exists already ({seconds:.3} s)"),
        Outcome::Built { steps_cached, steps_run, .. } => {
            let steps = if steps_run == 1 { "step" } else { "steps" };
            println!("built in {seconds:.1} s: {steps_run} {steps} run, {steps_cached} from the cache");
        }
        _ => println!("took {seconds:.1} s"),
    }
    Ok(image)
}

/// Makes the project's namespace if it is missing. Builds in the cluster have made it before.
async fn make_namespace(provider: &ProviderConfig) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client(provider).await?);
    let name = &provider.namespace.name;
    if namespaces.get_opt(name).await?.is_none() {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
    }
    Ok(())
}

async fn run_as_pod(provider: &ProviderConfig, image: &str) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(client(provider).await?, &provider.namespace.name);
    let name = format!("demo-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    let pod = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "app", "image": image }] },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    let printed = tokio::time::timeout(RUN_PATIENCE, printed_by(&pods, &name)).await;
    pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    printed.with_context(|| {
        let patience = RUN_PATIENCE.as_secs();
        format!("{image} did not run within {patience} s; can the cluster's nodes pull it without a secret?")
    })?
}

async fn printed_by(pods: &Api<Pod>, name: &str) -> Result<String> {
    let ended = |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let pod = kube::runtime::wait::await_condition(pods.clone(), name, ended).await?;
    let printed = pods.logs(name, &LogParams::default()).await?;
    if pod.and_then(|pod| pod.status?.phase).as_deref() == Some("Failed") {
        bail!("the pod failed after it had printed:\n{printed}");
    }
    Ok(printed)
}

async fn client(provider: &ProviderConfig) -> Result<Client> {
    let Some(path) = &provider.kubeconfig else { return Ok(Client::try_default().await?) };
    let kubeconfig = Kubeconfig::read_from(path)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

fn application() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples").join("app")
}

fn copy_of(directory: &Path) -> Result<TempDir> {
    let copy = TempDir::new()?;
    copy_into(directory, copy.path())?;
    Ok(copy)
}

fn copy_into(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_into(&entry.path(), &target)?;
        } else {
            // Keeps the executable bit, which is part of the context.
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
