// Why: docs/decisions/54-nagle-is-off.md

use garden_build_core::with_causes;
use garden_network::{Proxies, ProxyConnector};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::client::retry::RetryPolicy;
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use crate::api::ClusterError;
use crate::api::credential_plugin::{self, NoCredentials};
use crate::api::tls;
use crate::api::unreached::Unreached;

/// Makes a client like kube's own, without its tracing of requests, and so that what is written leaves at
/// once.
///
/// kube leaves Nagle's algorithm on, so that a small message may wait for the acknowledgement of the
/// one before, which a peer delays by up to 40 ms. A build's conversation with its daemon is a chain
/// of small messages. A client that a caller has set up keeps what the caller chose.
///
/// It speaks TLS with a [provider of cryptography](tls) of our own, and goes through `proxies`, not through the configuration's: kube compares `NO_PROXY` with the proxy's own host.
///
/// # Errors
/// If the configuration cannot be used, or a credential plugin that it names has no credentials.
pub(crate) fn client(config: Config, proxies: Proxies) -> Result<Client, ClusterError> {
    let plugin = credential_plugin::program(&config);
    with_layers(config, proxies).map_err(|error| match NoCredentials::behind(&*error, plugin.as_deref()) {
        Some(found) => found.report(),
        None => ClusterError::Kubeconfig { reason: with_causes(&*error) },
    })
}

fn with_layers(config: Config, proxies: Proxies) -> Result<Client, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let authorization = config.auth_layer()?;
    let tls = tls::connector(&config, authorization.is_some(), ProxyConnector::new(tcp, proxies))?;
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let plugin = credential_plugin::program(&config);
    let address = config.cluster_url.clone();
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .map_err(move |error: BoxError| {
            Unreached::at(&address, NoCredentials::in_place_of(error, plugin.as_deref()))
        })
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(authorization)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}
