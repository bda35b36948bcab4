use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;

use super::options::{KEEP, Keep, NamespaceError, NamespaceOptions};

/// The label of namespaces that are deleted when their test has ended, or later if it was killed.
pub const LABEL: &str = "garden-build-testing/namespace";

/// How long the deletion of a namespace that is dropped may take, so that a cluster that is gone does not keep the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many names are tried: another test may have the first.
const TRIES: usize = 5;

/// A namespace of a test. It is deleted when it is dropped; see the [module](super) for which are kept.
///
/// Dropping it waits until the cluster has taken the request. [`remove`](Self::remove) does so without holding up the test's thread, and says
/// if it fails.
#[derive(Debug)]
pub struct TestNamespace {
    name: String,
    config: Config,
    client: OpaqueClient,
    keep: Keep,
    /// Nothing is left to do when it is dropped.
    is_settled: bool,
}

struct OpaqueClient(Client);

impl std::fmt::Debug for OpaqueClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl TestNamespace {
    /// Creates a namespace in the cluster that `config` names. Its name is `prefix` and a number.
    ///
    /// # Errors
    /// If the cluster cannot be reached or refuses, or if `GARDEN_BUILD_TESTING_KEEP` has a value that means nothing.
    pub async fn create(config: Config, prefix: &str) -> Result<Self, NamespaceError> {
        Self::options(prefix).create(config).await
    }

    /// The same with options.
    pub fn options(prefix: &str) -> NamespaceOptions {
        NamespaceOptions::new(prefix)
    }

    pub(super) async fn create_with(
        config: Config,
        options: NamespaceOptions,
    ) -> Result<Self, NamespaceError> {
        let keep = match options.keep {
            Some(keep) => keep,
            None => Keep::of_variable(&std::env::var(KEEP).unwrap_or_default())?,
        };
        let client = Client::try_from(config.clone())?;
        let namespaces = Api::<Namespace>::all(client.clone());
        // What was left over is no reason for this test to fail.
        let _ = sweep(&namespaces, options.left_over_after).await;
        let mut labels = options.labels;
        labels.insert(LABEL.to_owned(), "test".to_owned());
        let mut tries = 0;
        let name = loop {
            let name = format!(
                "{}-{:09}",
                options.prefix,
                RandomState::new().build_hasher().finish() % 1_000_000_000
            );
            let mut namespace = Namespace::default();
            namespace.metadata.name = Some(name.clone());
            namespace.metadata.labels = Some(labels.clone());
            tries += 1;
            match namespaces.create(&PostParams::default(), &namespace).await {
                Ok(_) => break name,
                Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Self { name, config, client: OpaqueClient(client), keep, is_settled: false })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a client of the cluster, of the runtime in which the namespace was created.
    pub fn client(&self) -> Client {
        self.client.0.clone()
    }

    /// Keeps the namespace, whatever becomes of the test.
    pub fn keep(&mut self) {
        self.keep = Keep::All;
    }

    /// Deletes the namespace, unless it is to be kept. The cluster removes what is in it afterwards, which takes a while.
    ///
    /// # Errors
    /// If the cluster cannot be reached or refuses.
    pub async fn remove(mut self) -> Result<(), NamespaceError> {
        // If this fails, or is given up, there is a second try when it is dropped.
        settle(&self.client.0, &self.name, self.keep == Keep::All).await?;
        self.is_settled = true;
        Ok(())
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let is_kept = match self.keep {
            Keep::Nothing => false,
            Keep::Failed => thread::panicking(),
            Keep::All => true,
        };
        let (config, name) = (self.config.clone(), self.name.clone());
        // The test's runtime may be this very thread, so a thread and a client of their own do it.
        let settling = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let settling = async {
                let client = Client::try_from(config).map_err(|error| error.to_string())?;
                let settled = tokio::time::timeout(PATIENCE, settle(&client, &name, is_kept)).await;
                let settled = settled.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
                settled.map_err(|error| error.to_string())
            };
            runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(settling))
        });
        let settled = settling.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()));
        if let Err(reason) = settled {
            tell(&format!("Namespace {} could not be deleted: {reason}", self.name));
        }
    }
}

/// Deletes the namespace; or takes its label away, so that nothing deletes it, and says so.
async fn settle(client: &Client, name: &str, is_kept: bool) -> kube::Result<()> {
    let namespaces = Api::<Namespace>::all(client.clone());
    if is_kept {
        let patch = json!({ "metadata": { "labels": { LABEL: null } } });
        namespaces.patch_metadata(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        tell(&format!("Namespace {name} is kept: `kubectl delete namespace {name}` deletes it"));
        return Ok(());
    }
    match namespaces.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes namespaces that killed tests have left.
async fn sweep(namespaces: &Api<Namespace>, left_over_after: Duration) -> kube::Result<()> {
    let now = Timestamp::now();
    for namespace in namespaces.list(&ListParams::default().labels(LABEL)).await? {
        let created = namespace.creation_timestamp();
        let age = created.map(|created| now.as_second() - created.0.as_second()).unwrap_or_default();
        let is_left_over = u64::try_from(age).is_ok_and(|age| age > left_over_after.as_secs());
        if is_left_over && namespace.metadata.deletion_timestamp.is_none() {
            // Not another one that has its name by now.
            let preconditions = Preconditions { uid: namespace.uid(), resource_version: None };
            let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            // Another test may delete it at the same time.
            let _ = namespaces.delete(&namespace.name_any(), &parameters).await;
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "it is part of what a test prints")]
fn tell(message: &str) {
    eprintln!("{message}");
}
