//! With whose credentials registries are asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use garden_build_core::Result;
use garden_config::SecretRef;
use garden_registry::{AllowedHelpers, CredentialHelpers, Credentials};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::pull_secrets::{PullSecret, merged, read_pull_secrets};
use crate::api::Cluster;
use crate::in_cluster_registry::InClusterRegistry;

/// How long what was read counts, unless it is [expired](RegistryCredentials::expire) before: as long as what a credential
/// helper has answered. Whoever is refused with old ones may expire them and ask once more.
const COUNTS: Duration = Duration::from_secs(60);

/// How long it counts for a builder. What a builder is refused with ends the build, so a Secret that is renewed while steps run must count
/// when the image is pushed. The questions of a build's beginning still share one reading.
const COUNTS_FOR_BUILDERS: Duration = Duration::from_secs(2);

/// The credentials of registries, kept in Secrets of the cluster and, if wanted, in the configuration of this machine's
/// `docker` command. Cheap to clone; clones share what was read.
///
/// Whoever begins something that changed credentials have to count for calls [`expire`](Self::expire): a build does so once.
#[derive(Clone)]
pub struct RegistryCredentials(Arc<Shared>);

struct Shared {
    source: Source,
    /// For which registries the Secrets may have credential helpers of this machine run.
    helpers: AllowedHelpers,
    /// Locked while they are read, so that who comes meanwhile waits for the answer instead of asking as well.
    read: Mutex<Option<Read>>,
    /// How often they have expired.
    expired: AtomicU64,
}

#[derive(Clone)]
enum Source {
    Secrets {
        cluster: Cluster,
        /// The option that names them.
        field: &'static str,
        secrets: Vec<SecretRef>,
    },
    /// The `docker` command's, which win over those of `besides`.
    DockerCommand { besides: RegistryCredentials },
    /// That of the registry in the cluster, under each of `names`, besides those of `besides`.
    InClusterRegistry { besides: RegistryCredentials, registry: Box<InClusterRegistry>, names: Vec<String> },
}

struct Read {
    reading: Reading,
    /// When the reading began, and how often they had expired by then. What changed later may not be in it.
    began: Instant,
    expired: u64,
}

/// What was read.
#[derive(Clone)]
pub(super) struct Reading {
    credentials: Arc<Credentials>,
    /// The Secrets that they are from, in their order.
    pub(super) secrets: Arc<[PullSecret]>,
}

impl RegistryCredentials {
    /// Reads them in `secrets`, which the option `field` names. Nothing is read yet.
    pub fn of_secrets(cluster: Cluster, field: &'static str, secrets: Vec<SecretRef>) -> Self {
        Self::new(Source::Secrets { cluster, field, secrets }, AllowedHelpers::none())
    }

    /// Lets the Secrets have credential helpers of this machine run for these registries; before, for none. Whoever may write a Secret
    /// chooses the helper, and what it says is the user's own.
    pub fn allowing_helpers(self, helpers: AllowedHelpers) -> Self {
        Self::new(self.0.source.clone(), helpers)
    }

    /// Takes those of this machine's `docker` command as well. Where both are known for a registry, the command's count.
    pub fn and_docker_command(self) -> Self {
        Self::new(Source::DockerCommand { besides: self }, AllowedHelpers::for_all())
    }

    /// Takes what pushes to the registry in the cluster need as well, if they need something. It is asked for under each of `names`, which are
    /// hosts. Nodes need it for nothing, so no pull secret has it.
    pub fn and_registry_in_cluster(self, registry: InClusterRegistry, names: Vec<String>) -> Self {
        Self::new(
            Source::InClusterRegistry { besides: self, registry: Box::new(registry), names },
            AllowedHelpers::none(),
        )
    }

    fn new(source: Source, helpers: AllowedHelpers) -> Self {
        Self(Arc::new(Shared { source, helpers, read: Mutex::default(), expired: AtomicU64::new(0) }))
    }

    /// Whether anything is named that may hold credentials. Reads nothing.
    pub fn are_configured(&self) -> bool {
        match &self.0.source {
            Source::Secrets { secrets, .. } => !secrets.is_empty(),
            Source::DockerCommand { .. } => true,
            Source::InClusterRegistry { besides, registry, .. } => {
                registry.has_login() || besides.are_configured()
            }
        }
    }

    /// Has everything read again by whoever asks next.
    pub fn expire(&self) {
        self.0.expired.fetch_add(1, Ordering::SeqCst);
        if let Source::DockerCommand { besides } | Source::InClusterRegistry { besides, .. } = &self.0.source
        {
            besides.expire();
        }
    }

    /// Returns what counts now. As long as nothing changes it is the very same [`Arc`], so that whoever has put it to use
    /// knows whether to go on with that.
    ///
    /// # Errors
    /// If a Secret or the command's configuration cannot be read.
    pub async fn read(&self) -> Result<Arc<Credentials>> {
        Ok(self.read_within(COUNTS).await?.credentials)
    }

    /// Returns what counts now for a builder, which may ask in the course of a build: what [`read`](Self::read) returns, but at most two
    /// seconds old.
    ///
    /// # Errors
    /// If a Secret or the command's configuration cannot be read.
    pub async fn read_for_builder(&self) -> Result<Arc<Credentials>> {
        Ok(self.read_within(COUNTS_FOR_BUILDERS).await?.credentials)
    }

    /// Returns what [`read`](Self::read) does, with the Secrets that it is from, as far as nodes may pull with it.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn reading(&self) -> Result<Reading> {
        match &self.0.source {
            // Nodes pull without that login.
            Source::InClusterRegistry { besides, .. } => besides.read_within(COUNTS).await,
            _ => self.read_within(COUNTS).await,
        }
    }

    /// Returns the Secrets that they are from, which cluster has them, and which option names them. Reads nothing.
    pub(super) fn named(&self) -> (&Cluster, &'static str, &[SecretRef]) {
        match &self.0.source {
            Source::Secrets { cluster, field, secrets } => (cluster, field, secrets),
            Source::DockerCommand { besides } | Source::InClusterRegistry { besides, .. } => besides.named(),
        }
    }

    fn read_within(&self, longest: Duration) -> BoxFuture<'_, Result<Reading>> {
        // Boxed, as the source may be another one of these.
        Box::pin(async move {
            let mut read = self.0.read.lock().await;
            let expired = self.0.expired.load(Ordering::SeqCst);
            let counts = |read: &&Read| read.expired == expired && read.began.elapsed() < longest;
            if let Some(read) = read.as_ref().filter(counts) {
                return Ok(read.reading.clone());
            }
            let began = Instant::now();
            let (now, secrets) = self.0.source.read(&self.0.helpers, longest).await?;
            let credentials = match read.take().map(|read| read.reading.credentials) {
                // What a helper answers may have changed though its name has not.
                Some(before) if *before == now && !now.name_helpers() => before,
                _ => Arc::new(now),
            };
            let reading = Reading { credentials, secrets };
            *read = Some(Read { reading: reading.clone(), began, expired });
            Ok(reading)
        })
    }
}

impl Source {
    async fn read(
        &self,
        helpers: &AllowedHelpers,
        longest: Duration,
    ) -> Result<(Credentials, Arc<[PullSecret]>)> {
        match self {
            Self::Secrets { cluster, field, secrets } => {
                let read = read_pull_secrets(cluster, field, secrets).await?;
                Ok((merged(&read).allow_helpers(helpers), read.into()))
            }
            Self::DockerCommand { besides } => {
                let Reading { credentials, secrets } = besides.read_within(longest).await?;
                let mut known = Credentials::clone(&*credentials);
                known.merge(Credentials::from_docker_cli()?);
                // Not those of `besides`, which may be the same as before, with what helpers answered then.
                Ok((known.with_helpers(CredentialHelpers::new()), secrets))
            }
            Self::InClusterRegistry { besides, registry, names } => {
                let (reading, login) = tokio::join!(besides.read_within(longest), registry.login(names));
                let Reading { credentials, secrets } = reading?;
                let mut known = Credentials::clone(&*credentials);
                known.merge(login?);
                Ok((known, secrets))
            }
        }
    }
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::Secrets { secrets, .. } => {
                f.debug_struct("RegistryCredentials").field("secrets", secrets).finish()
            }
            Source::DockerCommand { besides } => {
                f.debug_struct("RegistryCredentials").field("and_docker_command", besides).finish()
            }
            Source::InClusterRegistry { besides, names, .. } => {
                f.debug_struct("RegistryCredentials").field("besides", besides).field("names", names).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests;
