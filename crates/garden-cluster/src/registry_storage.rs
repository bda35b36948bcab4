use std::time::Duration;

use garden_registry::clean_up::StorageListing;
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use crate::{Cluster, ClusterError, PodStream};

/// How often a listing is begun. It breaks off if a file vanishes that it has just found, which happens when somebody
/// else deletes.
const TRIES: usize = 5;

const PAUSE: Duration = Duration::from_secs(1);

/// How long the listing may take for its next piece. A large volume has to be searched for some time.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Lists what a registry of the distribution project stores below `directory` of a container, by a shell script that
/// is run there: it needs `sh`, `find`, `grep` and `stat`, as the published images have them.
///
/// # Errors
/// If the API server refuses or cannot be reached, or the script fails.
pub async fn list_registry_storage(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    directory: &str,
) -> Result<StorageListing, ClusterError> {
    let root = format!("{directory}/docker/registry/v2");
    let command = ["sh", "-c", StorageListing::SCRIPT, "list-storage", &root];
    let cut = |reason: String| ClusterError::StreamCut {
        target: format!("the listing of {root} in Pod {namespace}/{pod}"),
        reason,
    };
    let mut tries = 1;
    loop {
        let stream = PodStream::exec(cluster, namespace, pod, container, &command).await?;
        let listed = match read(stream).await {
            // A name need not be UTF-8.
            Ok(output) => StorageListing::parse(&String::from_utf8_lossy(&output))
                .map_err(|error| cut(error.to_string())),
            Err(reason) => Err(cut(reason)),
        };
        match listed {
            Err(error) if tries < TRIES => {
                tracing::debug!(%error, tries, "listing the registry's storage again");
                tries += 1;
                sleep(PAUSE).await;
            }
            listed => return listed,
        }
    }
}

async fn read(mut stream: PodStream) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    loop {
        match timeout(PATIENCE, stream.read_buf(&mut output)).await {
            Ok(Ok(0)) => return Ok(output),
            Ok(Ok(_)) => {}
            // Names the command and its pod, and says what it complained about.
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("it went silent for {} s", PATIENCE.as_secs())),
        }
    }
}
