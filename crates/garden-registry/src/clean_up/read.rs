use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use garden_build_core::{Digest, ImageReference, with_causes};

use super::inventory::{Inventory, References, Repository, StoredManifest};
use super::storage::{ListedRepository, StorageListing};
use crate::{RegistryClient, RegistryError};

/// How many manifests are read at a time.
const AT_A_TIME: usize = 16;

/// What manifests say. A manifest never says anything else, so what was read once need not be read again.
#[derive(Clone, Debug, Default)]
pub struct KnownManifests(BTreeMap<Digest, Known>);

#[derive(Clone, Debug)]
enum Known {
    Understood(References),
    /// Why it is not.
    NotUnderstood(String),
}

impl KnownManifests {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the inventory of a listing, and reads for it the manifests that are not known yet. Manifests whose
    /// content the registry has lost, which nobody can pull any more, are not in it.
    ///
    /// # Errors
    /// If the registry cannot be reached or does not let us read. That it cannot serve one manifest is in the
    /// inventory.
    pub async fn inventory(
        &mut self,
        listing: &StorageListing,
        client: &RegistryClient,
    ) -> Result<Inventory, RegistryError> {
        let mut unknown: BTreeMap<Digest, String> = BTreeMap::new();
        for (name, repository) in &listing.repositories {
            let digests = repository.manifests.keys().filter(|digest| !self.0.contains_key(digest));
            unknown.extend(digests.map(|digest| (*digest, name.clone())));
        }
        let reading = unknown.into_iter().map(|(digest, repository)| async move {
            Ok::<_, RegistryError>((digest, read(client, &repository, digest).await?))
        });
        let read: Vec<_> = stream::iter(reading).buffer_unordered(AT_A_TIME).try_collect().await?;
        let mut lost = BTreeSet::new();
        for (digest, known) in read {
            match known {
                Some(known) => drop(self.0.insert(digest, known)),
                None => drop(lost.insert(digest)),
            }
        }
        let repositories = listing.repositories.iter();
        let repositories =
            repositories.map(|(name, listed)| (name.clone(), self.repository(listed, &lost))).collect();
        Ok(Inventory { read_at: listing.read_at, repositories, blobs: listing.blobs.clone() })
    }

    fn repository(&self, listed: &ListedRepository, lost: &BTreeSet<Digest>) -> Repository {
        let mut repository = Repository {
            tags: listed.tags.clone(),
            manifests: BTreeMap::new(),
            unreadable: listed.unreadable.clone(),
        };
        for (&digest, &pushed) in &listed.manifests {
            match self.0.get(&digest) {
                Some(Known::Understood(references)) => {
                    let references = references.clone();
                    repository.manifests.insert(digest, StoredManifest { pushed, references });
                }
                Some(Known::NotUnderstood(why)) => {
                    repository.unreadable.push(format!("the manifest {digest}: {why}"));
                }
                None if lost.contains(&digest) => {}
                None => repository.unreadable.push(format!("the manifest {digest}, which was not read")),
            }
        }
        repository
    }
}

/// Reads a manifest; `None` if the registry has lost it.
async fn read(
    client: &RegistryClient,
    repository: &str,
    digest: Digest,
) -> Result<Option<Known>, RegistryError> {
    let name = format!("{}/{repository}@{digest}", client.registry());
    let image: ImageReference = name.parse().map_err(|_| RegistryError::Malformed {
        what: format!("the repository's name `{}`", repository.escape_debug()),
        reason: "it does not follow the grammar of image references".to_owned(),
    })?;
    match client.manifest(&image).await {
        Ok(None) => Ok(None),
        Ok(Some(manifest)) => Ok(Some(References::of(&manifest).map_or_else(
            || Known::NotUnderstood(format!("nothing is known of its type `{}`", manifest.media_type())),
            Known::Understood,
        ))),
        Err(error) if is_about_the_manifest(&error) => Ok(Some(Known::NotUnderstood(with_causes(&error)))),
        Err(error) => Err(error),
    }
}

/// Whether the registry is well and only has trouble with the manifest: distribution answers 500 for one that is
/// damaged.
fn is_about_the_manifest(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unexpected { .. }
        | RegistryError::TooLarge { .. }
        | RegistryError::WrongContent { .. } => true,
        RegistryError::Busy { status, .. } => *status == http::StatusCode::INTERNAL_SERVER_ERROR,
        _ => false,
    }
}
