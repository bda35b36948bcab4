use std::fmt::Debug;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use garden_config::{Namespace as NamespaceConfig, ProviderConfig};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, VersionMatch};
use kube::client::Body;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::time::{Instant, timeout};
use tower::BoxError;

use crate::api::literal::literal;
use crate::api::{ClusterError, Namespaced, Refusal, connect};
use crate::diagnosis::{Cause, Remedies};
use crate::ownership::MANAGER;

/// How long the API server may take to answer. kube's own retries would go on for minutes, and its
/// connections wait for ever.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How many objects are read at most where nobody knows how many a cluster has.
const MOST_ANYWHERE: u32 = 1000;

/// How long a new namespace may take to get its default service account.
const NEW_NAMESPACE_PATIENCE: Duration = Duration::from_secs(15);

/// How far a user may look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    AllNamespaces,
    OneNamespace,
}

/// A Kubernetes cluster, reached through its API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("default_namespace", &self.client.default_namespace()).finish()
    }
}

impl Cluster {
    /// Uses a client that the caller has set up.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Uses the cluster that the provider's `kubeconfig` and `context` name; without them the current context of the environment's kubeconfig,
    /// or the cluster this program runs in. The configuration is read when the first request is made: what never asks the cluster needs none.
    /// If it cannot be used, each request says so ([`ClusterError::Kubeconfig`]).
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn of(provider: &ProviderConfig) -> Self {
        Self::new(connect::when_needed(provider.clone()))
    }

    /// Returns the client, for calls that only one build mode makes.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the typed API of a namespace.
    pub fn api<K: Namespaced>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Returns the typed API of a namespace for kube's watcher, which would wait for ever for an answer to begin.
    pub(crate) fn api_to_watch<K: Namespaced>(&self, namespace: &str) -> Api<K> {
        let client = self.client.clone();
        let begun_in_time = tower::service_fn(move |request: Request<Body>| {
            let client = client.clone();
            async move {
                let begun = timeout(ANSWER_PATIENCE, client.send(request)).await;
                begun.map_err(BoxError::from)?.map_err(BoxError::from)
            }
        });
        Api::namespaced(Client::new(begun_in_time, namespace), namespace)
    }

    /// Creates or updates `object` by server-side apply, and returns it as the server has it.
    ///
    /// Safe to repeat: an apply that was already carried out changes nothing.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn apply<K: Namespaced>(&self, object: &K) -> Result<K, ClusterError> {
        self.apply_with(object, PatchParams::apply(MANAGER).force()).await
    }

    /// Returns what the server would make of `object` by [`apply`](Self::apply), and changes nothing.
    ///
    /// A server leaves out, without a word, fields that it has switched off: see "feature gates" in Kubernetes' documentation.
    /// What a pod must not be without is looked for in this answer before the pod is created.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn rehearse<K: Namespaced>(&self, object: &K) -> Result<K, ClusterError> {
        self.apply_with(object, PatchParams::apply(MANAGER).force().dry_run()).await
    }

    async fn apply_with<K: Namespaced>(
        &self,
        object: &K,
        parameters: PatchParams,
    ) -> Result<K, ClusterError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api = self.api::<K>(&namespace);
        let action = format!("create {}", name_of(object));
        let sent =
            literal(object).map_err(|error| ClusterError::of(&action, kube::Error::SerdeError(error)))?;
        let patch = Patch::Apply(&sent);
        ask(&action, || api.patch(&name, &parameters, &patch)).await
    }

    /// Creates `object`, and returns it as the server has it; `None` if there is one of its name already,
    /// which stays as it is.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn create<K: Namespaced>(&self, object: &K) -> Result<Option<K>, ClusterError> {
        let api = self.api::<K>(&object.namespace().unwrap_or_default());
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let action = format!("create {}", name_of(object));
        let sent = literal(object).and_then(serde_json::from_value);
        let sent = sent.map_err(|error| ClusterError::of(&action, kube::Error::SerdeError(error)))?;
        match answer(&action, api.create(&parameters, &sent)).await {
            Err(error) if error.code() == Some(409) => Ok(None),
            created => created.map(Some),
        }
    }

    /// Reads the object `name`; `None` if there is no such object.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn get<K: Namespaced>(&self, namespace: &str, name: &str) -> Result<Option<K>, ClusterError> {
        let action = format!("read {} {namespace}/{name}", K::kind(&()));
        let api = self.api::<K>(namespace);
        ask(&action, || api.get_opt(name)).await
    }

    /// Lists the nodes.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn nodes(&self) -> Result<Vec<Node>, ClusterError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let everything = ListParams::default();
        Ok(ask("list nodes", || nodes.list(&everything)).await?.items)
    }

    /// Lists the objects that the label selector chooses.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn list<K: Namespaced>(&self, namespace: &str, labels: &str) -> Result<Vec<K>, ClusterError> {
        let (action, chosen) =
            (format!("list {} in {namespace}", K::plural(&())), ListParams::default().labels(labels));
        let api = self.api::<K>(namespace);
        Ok(ask(&action, || api.list(&chosen)).await?.items)
    }

    /// Lists the objects that the label selector chooses as they were at a `moment`, which is the `resourceVersion` of an object of their kind just
    /// after it was written: [`MOST_ANYWHERE`] at most.
    /// Source: Kubernetes, "API Concepts", "Semantics for get and list", `resourceVersionMatch=Exact`.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached. It keeps no moment for longer than some minutes.
    pub(crate) async fn list_at<K: Namespaced>(
        &self,
        namespace: &str,
        labels: &str,
        moment: &str,
    ) -> Result<Vec<K>, ClusterError> {
        let action = format!("list {} in {namespace}", K::plural(&()));
        let chosen = ListParams::default().labels(labels).limit(MOST_ANYWHERE);
        let chosen = chosen.matching(VersionMatch::Exact).at(moment);
        let api = self.api::<K>(namespace);
        Ok(ask(&action, || api.list(&chosen)).await?.items)
    }

    /// Lists the objects of all namespaces that the label selector chooses, or those of `namespace` if the user may not look
    /// further: [`MOST_ANYWHERE`] at most. Says which.
    ///
    /// # Errors
    /// If the API server refuses that too, or cannot be reached.
    pub(crate) async fn list_within_reach<K: Namespaced>(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<(Reach, Vec<K>), ClusterError> {
        let chosen = ListParams::default().labels(labels).limit(MOST_ANYWHERE);
        let action = format!("list {} in all namespaces", K::plural(&()));
        match answer(&action, Api::<K>::all(self.client.clone()).list(&chosen)).await {
            Ok(list) => Ok((Reach::AllNamespaces, list.items)),
            Err(error) if error.code() == Some(403) => {
                let action = format!("list {} in {namespace}", K::plural(&()));
                let list = answer(&action, self.api::<K>(namespace).list(&chosen)).await?;
                Ok((Reach::OneNamespace, list.items))
            }
            Err(error) => Err(error),
        }
    }

    /// Changes an object by a JSON merge patch, where an apply cannot say what is meant.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn merge<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
        patch: &serde_json::Value,
    ) -> Result<K, ClusterError> {
        let action = format!("change {} {namespace}/{name}", K::kind(&()));
        let api = self.api::<K>(namespace);
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        answer(&action, api.patch(name, &parameters, &Patch::Merge(patch))).await
    }

    /// Creates a pod like [`apply`](Self::apply). In a namespace that is only seconds old, waits for the
    /// service account that the cluster puts into every namespace, without which it takes no pods. `remedies` are what to
    /// do if the cluster does not allow the pod.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn apply_pod(&self, pod: &Pod, remedies: &Remedies) -> Result<Pod, ClusterError> {
        let started = Instant::now();
        loop {
            match self.apply(pod).await {
                Err(ClusterError::Refused { status, .. })
                    if Refusal::of(&status.message).passes()
                        && started.elapsed() < NEW_NAMESPACE_PATIENCE =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                outcome => {
                    let remedy = |refusal| remedies.against(Cause::Refused(refusal));
                    return outcome.map_err(|error| error.advised(remedy));
                }
            }
        }
    }

    /// Deletes an object at once. One that is gone already counts as deleted. The request is made again even after a long time
    /// without an answer, as what is not deleted goes on running.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn delete<K: Namespaced>(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let deleted = self.delete_with::<K>(namespace, name, &DeleteParams::default().grace_period(0)).await;
        match deleted {
            Err(error) if error.code() != Some(404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes at once the object that has this `metadata`, and returns whether it is gone. One that was changed since it was read stays, as
    /// does another one of its name.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub(crate) async fn delete_unchanged<K: Namespaced>(
        &self,
        namespace: &str,
        metadata: &ObjectMeta,
    ) -> Result<bool, ClusterError> {
        let this_one =
            Preconditions { uid: metadata.uid.clone(), resource_version: metadata.resource_version.clone() };
        let parameters = DeleteParams::default().grace_period(0).preconditions(this_one);
        let name = metadata.name.as_deref().unwrap_or_default();
        match self.delete_with::<K>(namespace, name, &parameters).await {
            Err(error) if error.code() == Some(409) => Ok(false),
            Err(error) if error.code() != Some(404) => Err(error),
            _ => Ok(true),
        }
    }

    async fn delete_with<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
        parameters: &DeleteParams,
    ) -> Result<(), ClusterError> {
        let api = self.api::<K>(namespace);
        let action = format!("delete {} {namespace}/{name}", K::kind(&()));
        let may_help =
            |error: &ClusterError| error.may_pass() || matches!(error, ClusterError::NoAnswer { .. });
        (|| answer(&action, api.delete(name, parameters))).retry(tries()).when(may_help).await.map(drop)
    }

    /// Has the pod `name`, if it is the one with this `uid`, end a second after its node has heard of it.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub(crate) async fn end_soon(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ClusterError> {
        let this_one = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams::default().grace_period(1).preconditions(this_one);
        let action = format!("end Pod {namespace}/{name}");
        answer(&action, self.api::<Pod>(namespace).delete(name, &parameters)).await.map(drop)
    }

    /// Makes sure that a namespace exists.
    ///
    /// An existing namespace is left as it is. A user who may not look at namespaces is taken to
    /// have been given one: whether it exists shows when something is created in it.
    ///
    /// # Errors
    /// If it does not exist and may not be created.
    pub async fn ensure_namespace(&self, wanted: &NamespaceConfig) -> Result<(), ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match ask(&format!("read Namespace {}", wanted.name), || namespaces.get_opt(&wanted.name)).await {
            Ok(None) => {}
            Err(error) if error.code() != Some(403) => return Err(error),
            Ok(Some(_)) | Err(_) => return Ok(()),
        }
        let (parameters, namespace) = (PostParams::default(), new_namespace(wanted));
        let creating = namespaces.create(&parameters, &namespace);
        match answer(&format!("create Namespace {}", wanted.name), creating).await {
            // 409: somebody else created it in the meantime.
            Err(error) if error.code() != Some(409) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Returns the namespace that [`Cluster::ensure_namespace`] creates where there is none.
pub fn new_namespace(wanted: &NamespaceConfig) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(wanted.name.clone());
    namespace.metadata.annotations = Some(wanted.annotations.clone());
    namespace.metadata.labels = Some(wanted.labels.clone());
    namespace
}

/// Waits for the API server's answer to a request for `action`.
pub(crate) async fn answer<T>(
    action: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    match timeout(ANSWER_PATIENCE, call).await {
        Ok(answer) => answer.map_err(|error| ClusterError::of(action, error)),
        Err(_) => Err(ClusterError::NoAnswer { action: action.to_owned(), after: ANSWER_PATIENCE }),
    }
}

/// Waits for the API server's answer to a request for `action` that may be carried out twice. One that is cut, or that the server
/// cannot answer for now, is made again: an API server that is replaced by the next behind its load balancer ends no build. One that
/// has not been answered for long is not.
pub(crate) async fn ask<T, F: Future<Output = kube::Result<T>>>(
    action: &str,
    call: impl Fn() -> F,
) -> Result<T, ClusterError> {
    (|| answer(action, call())).retry(tries()).when(ClusterError::may_pass).await
}

/// Three requests in all.
fn tries() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(Duration::from_millis(300)).with_max_times(2)
}

/// Names an object for messages: `Pod my-project/kaniko-api-1a2b3c`.
pub(crate) fn name_of<K: Resource<DynamicType = ()>>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{} {namespace}/{}", K::kind(&()), object.name_any()),
        None => format!("{} {}", K::kind(&()), object.name_any()),
    }
}
