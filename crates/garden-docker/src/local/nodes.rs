use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures::{StreamExt as _, TryStreamExt as _};
use garden_build_core::{Digest, Error, ErrorKind, EventSink, ImageReference, Result, StepKind};
use garden_cluster::Cluster;
use k8s_openapi::api::core::v1::Node;
use tokio::io::AsyncWriteExt as _;

use super::DaemonChoice;
use super::supply::{NodeFacts, Runtime, Supply};
use crate::{DockerDaemon, DockerError};

/// The node's own name for the machine that it is. Source: Kubernetes, "Well-Known Labels".
const HOST_NAME: &str = "kubernetes.io/hostname";

/// The images of a Docker daemon, as the nodes of a local cluster have them: without a registry.
#[derive(Clone, Debug)]
pub struct NodeImages {
    cluster: Cluster,
    pub(crate) daemon: DaemonChoice,
}

impl NodeImages {
    /// Gives images of the daemon to the nodes of `cluster`.
    pub fn new(cluster: Cluster, daemon: DaemonChoice) -> Self {
        Self { cluster, daemon }
    }

    /// Returns the daemon's identifier of `image` if the daemon and every node have it.
    ///
    /// # Errors
    /// If the daemon, the cluster or a node cannot be asked, or a node cannot be given images in any way.
    pub async fn find(&self, image: &ImageReference) -> Result<Option<Digest>> {
        let daemon = self.daemon.daemon()?;
        let Some(id) = daemon.image_id(image).await? else { return Ok(None) };
        for supply in self.supplies(&daemon).await? {
            if !has(&daemon, &supply, image).await? {
                return Ok(None);
            }
        }
        Ok(Some(id))
    }

    /// Finds how each node gets images.
    pub(crate) async fn supplies(&self, daemon: &DockerDaemon) -> Result<Vec<Supply>> {
        let nodes = self.cluster.nodes().await?;
        let docker = daemon.api().await?;
        let host = daemon.answered("say its name", docker.info()).await?.name.unwrap_or_default();
        let options = ListContainersOptionsBuilder::new().build();
        let containers =
            daemon.answered("list its containers", docker.list_containers(Some(options))).await?;
        // Docker puts a slash before them.
        let names: Vec<String> = containers.into_iter().flat_map(|it| it.names.unwrap_or_default()).collect();
        let is_container =
            |node: &str| names.iter().any(|name| name.strip_prefix('/').unwrap_or(name) == node);
        nodes
            .into_iter()
            .map(|node| {
                let facts = facts(node);
                Supply::of(&facts, &host, is_container(&facts.name))
            })
            .collect()
    }

    /// Gives `image` to each node that does not have it, or to each if what a node has under that name is to be replaced.
    pub(crate) async fn supply(
        &self,
        daemon: &DockerDaemon,
        supplies: &[Supply],
        image: &ImageReference,
        replace: bool,
        events: &EventSink,
    ) -> Result<()> {
        for supply in supplies {
            let Supply::Container { name, runtime } = supply else { continue };
            let step = events.step(StepKind::Copy, format!("give {image} to Node {name}"));
            if !replace && has(daemon, supply, image).await? {
                step.cached();
                continue;
            }
            step.end(import(daemon, name, *runtime, image).await)?;
        }
        Ok(())
    }
}

fn facts(node: Node) -> NodeFacts {
    let name = node.metadata.name.unwrap_or_default();
    let host_name = node.metadata.labels.and_then(|mut labels| labels.remove(HOST_NAME));
    let runtime = node.status.and_then(|status| Some(status.node_info?.container_runtime_version));
    NodeFacts {
        host_name: host_name.unwrap_or_else(|| name.clone()),
        name,
        runtime: runtime.unwrap_or_default(),
    }
}

async fn has(daemon: &DockerDaemon, supply: &Supply, image: &ImageReference) -> Result<bool> {
    match supply {
        Supply::SameDaemon => Ok(true),
        Supply::Container { name, runtime } => {
            let command = Supply::find(*runtime, image);
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let ran = run(daemon, name, &words, None).await?;
            // Warnings are no answer: containerd 2.2 has one for each command on a node with cgroup v1.
            Ok(!ran.output.trim().is_empty())
        }
    }
}

/// Has a node's container runtime take the image from the daemon. What goes wrong shows in that it does not have it then.
async fn import(daemon: &DockerDaemon, node: &str, runtime: Runtime, image: &ImageReference) -> Result<()> {
    let ran = run(daemon, node, &Supply::import(runtime), Some(image)).await?;
    let supply = Supply::Container { name: node.to_owned(), runtime };
    if has(daemon, &supply, image).await? {
        return Ok(());
    }
    let message = format!("Node {node} does not have {image} after it was imported there: {}", ran.words());
    Err(Error::new(ErrorKind::PushFailed, message).with_hint("look whether the node's disk is full"))
}

/// What a command printed.
#[derive(Default)]
struct Printed {
    /// On the standard output.
    output: String,
    /// On the standard error.
    errors: String,
}

impl Printed {
    fn words(&self) -> String {
        format!("{}\n{}", self.errors.trim(), self.output.trim()).trim().to_owned()
    }
}

/// Runs a command in a container, with an image as `docker save` writes it on its standard input, and returns what it printed.
///
/// # Errors
/// If it ends with another exit code than 0.
async fn run(
    daemon: &DockerDaemon,
    container: &str,
    command: &[&str],
    input: Option<&ImageReference>,
) -> Result<Printed> {
    let action = format!("run `{}` in the container {container}", command.join(" "));
    let docker = daemon.api().await?;
    let config = ExecConfig {
        attach_stdin: Some(input.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        ..ExecConfig::default()
    };
    let id = daemon.answered(&action, docker.create_exec(container, config)).await?.id;
    let started = daemon.answered(&action, docker.start_exec(&id, None)).await?;
    let StartExecResults::Attached { output, input: mut stdin } = started else {
        return Err(Error::new(
            ErrorKind::Unexpected,
            format!("Docker did not connect us to `{}`", command.join(" ")),
        ));
    };
    let feed = async {
        if let Some(image) = input {
            let name = image.to_string();
            let mut archive = docker.export_image(&name);
            while let Some(chunk) =
                archive.try_next().await.map_err(|error| daemon.failed(&format!("export {image}"), error))?
            {
                // The command's own words say why it takes no more.
                if stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
        }
        let _ = stdin.shutdown().await;
        Ok::<_, DockerError>(())
    };
    let read = output.fold(Printed::default(), async |mut printed, chunk| {
        match chunk {
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                printed.output.push_str(&String::from_utf8_lossy(&message));
            }
            Ok(LogOutput::StdErr { message }) => printed.errors.push_str(&String::from_utf8_lossy(&message)),
            Ok(LogOutput::StdIn { .. }) | Err(_) => {}
        }
        printed
    });
    let (exported, printed) = tokio::join!(feed, read);
    exported?;
    let ended = daemon.answered(&action, docker.inspect_exec(&id)).await?;
    match ended.exit_code {
        Some(0) => Ok(printed),
        code => {
            let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
            let message = format!(
                "`{}` in the container {container} ended with {code}: {}",
                command.join(" "),
                printed.words()
            );
            Err(Error::new(ErrorKind::PushFailed, message).with_hint(
                "images are given to nodes that are containers with `ctr` or `docker` in them; set `deploymentRegistry` otherwise",
            ))
        }
    }
}

#[cfg(test)]
mod tests;
