//! How the nodes of a local cluster get an image that is in a Docker daemon.
//!
//! Why: docs/decisions/50-local-nodes-are-judged-before-a-build.md

use garden_build_core::{Error, ErrorKind, ImageReference};

/// What is known of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    /// Its label `kubernetes.io/hostname`, or its name.
    pub(crate) host_name: String,
    /// Its container runtime and that one's version, such as `containerd://1.7.24`.
    pub(crate) runtime: String,
}

/// How a node gets images.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Supply {
    /// It runs its containers with the daemon itself, so it has whatever the daemon has: Docker Desktop, Rancher Desktop and
    /// `OrbStack`, and minikube if the daemon is the one inside it.
    SameDaemon,
    /// It is a container of the daemon, in which a command imports an archive from its standard input: kind, k3d, and minikube with
    /// its docker driver.
    Container { name: String, runtime: Runtime },
}

/// What runs containers on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runtime {
    Containerd,
    Docker,
}

/// Containerd's namespace for what Kubernetes runs. Source: containerd, `internal/cri/constants`.
const KUBERNETES: &str = "--namespace=k8s.io";

impl Supply {
    /// Finds how `node` gets images from the daemon on the host `daemon_host`, of whose running containers one is called as the node if
    /// `is_container`.
    ///
    /// # Errors
    /// If there is no way.
    pub(crate) fn of(node: &NodeFacts, daemon_host: &str, is_container: bool) -> Result<Self, Error> {
        let runtime = node.runtime.split_once("://").map_or(node.runtime.as_str(), |(runtime, _)| runtime);
        let known = match runtime {
            "docker" => Some(Runtime::Docker),
            "containerd" => Some(Runtime::Containerd),
            _ => None,
        };
        match known {
            Some(Runtime::Docker) if node.host_name == daemon_host || node.name == daemon_host => {
                Ok(Self::SameDaemon)
            }
            Some(runtime) if is_container => Ok(Self::Container { name: node.name.clone(), runtime }),
            _ => Err(unreached(node, daemon_host)),
        }
    }

    /// The command that imports what `docker save` writes.
    pub(crate) fn import(runtime: Runtime) -> Vec<&'static str> {
        match runtime {
            Runtime::Containerd => vec!["ctr", KUBERNETES, "images", "import", "-"],
            Runtime::Docker => vec!["docker", "load"],
        }
    }

    /// The command that prints something if the node has `image`.
    pub(crate) fn find(runtime: Runtime, image: &ImageReference) -> Vec<String> {
        let image = image.to_string();
        let words: Vec<&str> = match runtime {
            Runtime::Containerd => vec!["ctr", KUBERNETES, "images", "ls", "-q"],
            Runtime::Docker => vec!["docker", "images", "-q", &image],
        };
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        if runtime == Runtime::Containerd {
            words.push(format!("name=={image}"));
        }
        words
    }
}

fn unreached(node: &NodeFacts, daemon_host: &str) -> Error {
    let message = format!(
        "Node {} ({}) cannot be given images by the Docker daemon on {daemon_host}: it neither runs its containers with that daemon nor \
         is a container of it",
        node.name, node.runtime
    );
    let hint = if node.name.starts_with("minikube") || node.host_name.starts_with("minikube") {
        "run `eval $(minikube docker-env)` to build with the daemon inside minikube, or set `deploymentRegistry`"
    } else {
        "set `deploymentRegistry` to a registry that the nodes reach, or use the daemon of the machine where the cluster runs (DOCKER_HOST, \
         `docker context use`)"
    };
    Error::new(ErrorKind::Unsupported, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, runtime: &str) -> NodeFacts {
        NodeFacts { name: name.to_owned(), host_name: name.to_owned(), runtime: runtime.to_owned() }
    }

    fn container(name: &str, runtime: Runtime) -> Supply {
        Supply::Container { name: name.to_owned(), runtime }
    }

    #[test]
    fn each_kind_of_local_cluster_is_supplied_in_its_way() {
        let supply = |name: &str, runtime: &str, daemon_host: &str, is_container: bool| {
            Supply::of(&node(name, runtime), daemon_host, is_container).expect("a way")
        };
        assert_eq!(supply("docker-desktop", "docker://28.5.2", "docker-desktop", false), Supply::SameDaemon);
        assert_eq!(supply("minikube", "docker://28.4.0", "minikube", false), Supply::SameDaemon);
        let kind = supply("kind-control-plane", "containerd://2.1.3", "laptop", true);
        assert_eq!(kind, container("kind-control-plane", Runtime::Containerd));
        let minikube = supply("minikube", "docker://28.4.0", "laptop", true);
        assert_eq!(minikube, container("minikube", Runtime::Docker));
    }

    #[test]
    fn a_node_out_of_reach_is_named_with_what_to_do() {
        let refused = |name: &str, runtime: &str, is_container: bool| {
            Supply::of(&node(name, runtime), "laptop", is_container).expect_err("no way")
        };
        let error = refused("minikube", "docker://28.4.0", false);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().is_some_and(|hint| hint.contains("minikube docker-env")), "{error}");
        for (name, runtime, is_container) in
            [("worker", "containerd://2.1.3", false), ("crio", "cri-o://1.34.0", true)]
        {
            let error = refused(name, runtime, is_container);
            assert!(error.message().contains(name) && error.message().contains(runtime), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("deploymentRegistry")), "{error}");
        }
    }

    #[test]
    fn containerd_is_asked_for_the_image_by_its_full_name() {
        let image: ImageReference = "api:v-1".parse().expect("a name");
        let command = Supply::find(Runtime::Containerd, &image).join(" ");
        assert_eq!(command, "ctr --namespace=k8s.io images ls -q name==docker.io/library/api:v-1");
    }
}
