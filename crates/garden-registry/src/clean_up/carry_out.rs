use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use garden_build_core::{Digest, with_causes};
use serde::Serialize;

use super::deletion::Deletion;
use super::plan::CleanUpPlan;
use crate::RegistryClient;

/// How many manifests are deleted at a time.
const AT_A_TIME: usize = 8;

/// What became of the deletions of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Deletions {
    /// What is deleted now, by whomever.
    pub deleted: Vec<Deletion>,
    /// What could not be deleted.
    pub failed: Vec<FailedDeletion>,
}

/// A manifest that could not be deleted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FailedDeletion {
    /// The repository.
    pub repository: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why it is still there.
    pub reason: String,
}

impl CleanUpPlan {
    /// Deletes what is planned, as far as the registry does it: one failure does not stop the others. What a
    /// manifest that is still there needs is not deleted. Tells `tell` of each, and why it is still there if it is.
    ///
    /// May be dropped at any time: what is deleted by then leaves nothing behind that refers to it.
    pub async fn carry_out(
        &self,
        client: &RegistryClient,
        mut tell: impl FnMut(&Deletion, Result<(), &str>),
    ) -> Deletions {
        let mut done = Deletions::default();
        for group in self.in_order() {
            let still_there: BTreeSet<(String, Digest)> =
                done.failed.iter().map(|failed| (failed.repository.clone(), failed.digest)).collect();
            let group: Vec<Deletion> = group.into_iter().cloned().collect();
            let deleting = group.into_iter().map(|deletion| {
                let is_there =
                    |other: &&Digest| still_there.contains(&(deletion.repository.clone(), **other));
                let needed_by = deletion.after.iter().find(is_there).copied();
                async move {
                    let deleted = delete(client, &deletion, needed_by).await;
                    (deletion, deleted)
                }
            });
            let mut deleting = stream::iter(deleting).buffer_unordered(AT_A_TIME);
            while let Some((deletion, deleted)) = deleting.next().await {
                tell(&deletion, deleted.as_ref().copied().map_err(String::as_str));
                match deleted {
                    Ok(()) => done.deleted.push(deletion),
                    Err(reason) => {
                        let Deletion { repository, digest, tags, .. } = deletion;
                        done.failed.push(FailedDeletion { repository, digest, tags, reason });
                    }
                }
            }
        }
        done
    }
}

async fn delete(
    client: &RegistryClient,
    deletion: &Deletion,
    needed_by: Option<Digest>,
) -> Result<(), String> {
    if let Some(other) = needed_by {
        return Err(format!("{other}, which refers to it, could not be deleted"));
    }
    // That it is gone already is as good.
    client
        .delete_manifest(&deletion.repository, deletion.digest)
        .await
        .map_err(|error| with_causes(&error))?;
    Ok(())
}
