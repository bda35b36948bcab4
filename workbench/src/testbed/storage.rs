//! Volumes for what keeps data in the cluster, as a storage class of the cluster would provide them.

use std::fs;

use anyhow::{Context, Result};

use super::state::{State, fill};

/// Each claim takes one for good, as nobody empties them.
const VOLUMES: usize = 8;

const CLASS: &str = include_str!("../../../testbed/manifests/storage-class.yaml");
const VOLUME: &str = include_str!("../../../testbed/manifests/volume.yaml");

/// Makes the volumes' directories, and returns the manifests of the class and its volumes.
pub(super) fn prepare(state: &State) -> Result<String> {
    let mut manifests = CLASS.to_owned();
    for number in 0..VOLUMES {
        let number = number.to_string();
        let directory = state.path("volumes").join(&number);
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let values = [("number", number.as_str()), ("directory", &*directory.to_string_lossy())];
        manifests.push_str("---\n");
        manifests.push_str(&fill(VOLUME, &values));
    }
    Ok(manifests)
}
