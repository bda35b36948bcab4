//! The API server's time: that of its answers.
//!
//! What clients tell each other by the cluster is written and judged in this time, so that wrong clocks do no harm. Go's HTTP server puts a
//! `Date` header on every response, true to the second; where a proxy has removed it, this machine's time counts.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Request, Uri};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use kube::client::Body;
use kube::{Api, Client};

use crate::api::{Cluster, ClusterError, Namespaced, ask};

impl Cluster {
    /// Asks the API server what time it is.
    ///
    /// # Errors
    /// If the API server cannot be reached.
    pub async fn server_time(&self) -> Result<Timestamp, ClusterError> {
        let version = || {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = Uri::from_static("/version");
            request
        };
        let response = ask("read the server's clock", || self.client().send(version())).await?;
        Ok(date(response.headers()).unwrap_or_else(Timestamp::now))
    }

    /// Reads the object `name`, and the API server's time, by one request; `None` if there is no such object.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub(crate) async fn get_dated<K: Namespaced>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<(Option<K>, Timestamp), ClusterError> {
        let date_of_answer = Arc::new(OnceLock::new());
        let (client, noted) = (self.client().clone(), Arc::clone(&date_of_answer));
        let noting = tower::service_fn(move |request: Request<Body>| {
            let (client, noted) = (client.clone(), Arc::clone(&noted));
            async move {
                let response = client.send(request).await?;
                if let Some(date) = date(response.headers()) {
                    // There is one answer.
                    let _ = noted.set(date);
                }
                Ok::<_, kube::Error>(response)
            }
        });
        let api: Api<K> = Api::namespaced(Client::new(noting, namespace), namespace);
        let action = format!("read {} {namespace}/{name}", K::kind(&()));
        let found = ask(&action, || api.get_opt(name)).await?;
        Ok((found, date_of_answer.get().copied().unwrap_or_else(Timestamp::now)))
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    rfc2822::parse(date).ok().map(|date| date.timestamp())
}
