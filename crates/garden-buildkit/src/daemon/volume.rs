//! The volume for the daemon's cache.

use garden_cluster::{Cluster, ClusterError, ensure_claim};

use crate::daemon::Notice;
use crate::spec::{self, NAME, Settings};

/// Makes sure of the claim, if the settings have a volume.
pub(super) async fn ensure(
    cluster: &Cluster,
    settings: &Settings,
    tell: &mut impl FnMut(Notice),
) -> Result<(), ClusterError> {
    let Some(claim) = spec::claim(settings) else { return Ok(()) };
    if let Some(message) = ensure_claim(cluster, &claim).await? {
        let hint = format!(
            "set `clusterBuildkit.storage.size` to its size, or delete the Deployment and the claim {NAME} to start with an empty one"
        );
        tell(Notice::Warning { message, hint });
    }
    Ok(())
}
