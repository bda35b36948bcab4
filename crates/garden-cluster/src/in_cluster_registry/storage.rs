//! What the registry has on its volume.
//!
//! Why: docs/decisions/77-clean-up-looks-at-the-storage.md

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use garden_registry::clean_up::StorageListing;
use kube::ResourceExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::InClusterRegistry;
use crate::api::ClusterError;
use crate::pod::PodStream;

/// How often a listing is begun. It breaks off if a file vanishes that it has just found, as when somebody else
/// deletes.
const TRIES: usize = 5;

const PAUSE: Duration = Duration::from_secs(1);

/// How long the listing may take for its next piece. A large volume has to be searched for some time.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How long the listing may be, in bytes: that of a million images. It is the registry's container that says it.
const LONGEST: usize = 1 << 30;

impl InClusterRegistry {
    /// Lists what the registry stores, by a shell script that is run in its container: that needs `find`, `grep` and
    /// `stat`, as the official images have them.
    ///
    /// # Errors
    /// If the registry has no pod, the API server refuses or cannot be reached, or the script fails.
    pub async fn storage(&self) -> Result<StorageListing, ClusterError> {
        let again = ConstantBuilder::default().with_delay(PAUSE).with_max_times(TRIES - 1);
        (|| self.list_storage())
            .retry(again)
            .when(|error| matches!(error, ClusterError::StreamCut { .. }))
            .notify(|error, _| tracing::debug!(%error, "listing the registry's storage again"))
            .await
    }

    async fn list_storage(&self) -> Result<StorageListing, ClusterError> {
        let pod = self.pod().await?.name_any();
        let cut = |reason: String| ClusterError::StreamCut {
            target: format!("the listing of {} in Pod {}/{pod}", Self::STORAGE, self.namespace()),
            reason,
        };
        let root = format!("{}/docker/registry/v2", Self::STORAGE);
        let command = ["sh", "-c", StorageListing::SCRIPT, "list-storage", &root];
        let stream =
            PodStream::exec(&self.cluster, self.namespace(), &pod, Self::CONTAINER, &command).await?;
        let output = read(stream, LONGEST).await.map_err(cut)?;
        // A name need not be UTF-8.
        StorageListing::parse(&String::from_utf8_lossy(&output)).map_err(|error| cut(error.to_string()))
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, longest: usize) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    loop {
        if output.len() > longest {
            return Err(format!("it is longer than {longest} bytes"));
        }
        match timeout(PATIENCE, stream.read_buf(&mut output)).await {
            Ok(Ok(0)) => return Ok(output),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("it went silent for {} s", PATIENCE.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listing_without_an_end_does_not_fill_the_memory() {
        let reason = read(tokio::io::repeat(b'x'), 100_000).await.expect_err("endless");
        assert_eq!(reason, "it is longer than 100000 bytes");
        assert_eq!(read(&b"12 = end"[..], 8).await.as_deref(), Ok(&b"12 = end"[..]));
    }
}
