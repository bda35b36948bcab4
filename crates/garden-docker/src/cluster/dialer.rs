// Why: docs/decisions/51-the-docker-daemon-has-no-port.md

use futures::future::BoxFuture;
use garden_cluster::{Cluster, DaemonPod, PodStream};

use super::ClusterDaemon;
use crate::DockerError;
use crate::dial::{Connection, Dial};

/// Opens connections to the daemon in one pod, and to no other that may take its place: a build is in one daemon only.
///
/// Each is a command in the pod that copies between its standard streams and the socket, as the `docker` command
/// itself does on the far side of `ssh://`. Source: docker/cli, `cli/command/system/dial_stdio.go`.
#[derive(Clone, Debug)]
pub(crate) struct PodDialer {
    cluster: Cluster,
    namespace: String,
    pod: DaemonPod,
    address: String,
}

impl PodDialer {
    pub(super) fn new(cluster: &Cluster, namespace: &str, pod: &DaemonPod) -> Self {
        let address = format!("Deployment {namespace}/{}", ClusterDaemon::NAME);
        Self { cluster: cluster.clone(), namespace: namespace.to_owned(), pod: pod.clone(), address }
    }
}

impl Dial for PodDialer {
    fn address(&self) -> &str {
        &self.address
    }

    fn is_local(&self) -> bool {
        false
    }

    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Connection>, DockerError>> {
        Box::pin(async move {
            // Named, whatever the image's environment says.
            let command = ["docker", "--host", ClusterDaemon::SOCKET, "system", "dial-stdio"];
            let (name, container) = (&self.pod.name, self.pod.container);
            let stream = PodStream::exec(&self.cluster, &self.namespace, name, container, &command)
                .await
                .map_err(DockerError::cluster)?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}
