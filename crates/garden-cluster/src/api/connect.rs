//! Finds the cluster that a provider names, when it is needed.

use std::sync::Arc;

use garden_build_core::with_causes;
use garden_config::ProviderConfig;
use http::Request;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::OnceCell;
use tower::{BoxError, service_fn};

use crate::api::{ClusterError, confined, contexts, http_client, proxy};

/// Returns a client that connects with its first request. Until that succeeds, each request tries anew.
pub(crate) fn when_needed(provider: ProviderConfig) -> Client {
    let connected = Arc::new((provider, OnceCell::new()));
    let service = service_fn(move |request: Request<Body>| {
        let connected = Arc::clone(&connected);
        async move {
            let (provider, client) = &*connected;
            let client: &Client = client.get_or_try_init(|| connect(provider)).await?;
            client.send(request).await.map_err(BoxError::from)
        }
    });
    Client::new(service, "default")
}

/// Reads the provider's configuration of the cluster. No request is made yet.
///
/// # Errors
/// [`ClusterError::Kubeconfig`] if the configuration cannot be read, has no such context, or wants what a
/// [confined](ProviderConfig::confined) provider does not do.
pub(crate) async fn connect(provider: &ProviderConfig) -> Result<Client, ClusterError> {
    // What kube says of a kubeconfig hides the path in the source.
    let unusable = |reason: String| ClusterError::Kubeconfig { reason };
    let options = KubeConfigOptions { context: provider.context.clone(), ..KubeConfigOptions::default() };
    let kubeconfig = match &provider.kubeconfig {
        Some(path) => Some(confined::read_kubeconfig(path, provider).map_err(unusable)?),
        // Where there is none, this program may run in a cluster.
        None => Kubeconfig::read().ok(),
    };
    if let (Some(kubeconfig), Some(context)) = (&kubeconfig, &provider.context) {
        contexts::has(kubeconfig, context).map_err(unusable)?;
    }
    let proxies = proxy::proxies(kubeconfig.as_ref(), provider.context.as_deref()).map_err(unusable)?;
    let config = match (kubeconfig.filter(|_| provider.kubeconfig.is_some()), &provider.context) {
        (Some(kubeconfig), _) => {
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| with_causes(&error))
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| with_causes(&error)),
        (None, None) => Config::infer().await.map_err(|error| with_causes(&error)),
    };
    let config = config.map_err(unusable)?;
    if provider.confined {
        confined::runs_nothing(&config.auth_info).map_err(unusable)?;
    }
    http_client::client(config, proxies)
}
