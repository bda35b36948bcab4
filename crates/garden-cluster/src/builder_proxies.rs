//! The proxies of builders in the cluster: the variables of their containers, and the Secret for addresses with passwords.
//!
//! Why: docs/decisions/55-builders-get-proxies-as-variables.md

use std::collections::BTreeMap;

use garden_build_core::{Digest, ProxyVariables};
use garden_config::ProxyOptions;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, Secret, SecretKeySelector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::api::{Cluster, ClusterError};

/// What a proxy must not stand before: the pod itself, link-local addresses such as that of a cloud's metadata service, and the DNS
/// names of Services. Go reads every entry (`golang.org/x/net/http/httpproxy`); curl and others know most of them.
const DIRECT: [&str; 6] = ["localhost", "127.0.0.1", "::1", "169.254.0.0/16", ".svc", ".cluster.local"];

/// The address of the API server's Service. The node knows it, and puts it in: a variable may refer to those of Services.
/// Source: Kubernetes, `pkg/kubelet/kubelet_pods.go` (`makeEnvironmentVariables`).
const API_SERVER: &str = "$(KUBERNETES_SERVICE_HOST)";

/// The variable that has it, as its last entry.
const NO_PROXY: &str = "NO_PROXY";

/// The key of a random text beside the addresses in a Secret. It is part of their mark: many may read the mark, and without this text it
/// helps nobody to guess a password.
const SALT: &str = "salt";

/// The proxies that builders in the cluster use, and the RUN steps that they run. By default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuilderProxies(ProxyVariables);

impl BuilderProxies {
    /// Uses the proxies of `options`, except for what is within the cluster.
    pub fn new(options: &ProxyOptions) -> Self {
        let urls = [("HTTP_PROXY", &options.http_proxy), ("HTTPS_PROXY", &options.https_proxy)];
        let urls: Vec<_> = urls.into_iter().filter_map(|(name, url)| Some((name, url.clone()?))).collect();
        if urls.is_empty() {
            return Self::default();
        }
        let given = options.no_proxy.iter().flat_map(|list| list.split(',')).map(str::trim);
        let no_proxy: Vec<&str> = given.filter(|entry| !entry.is_empty()).chain(DIRECT).collect();
        Self(ProxyVariables::new(urls, no_proxy.join(",")))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the variables of RUN steps.
    pub fn variables(&self) -> &ProxyVariables {
        &self.0
    }

    /// Whether an address has a user name or a password, so that it belongs into a Secret.
    pub fn have_credentials(&self) -> bool {
        self.0.urls().any(|(_, url)| url.has_credentials())
    }

    /// Returns the variables of a builder's container, if there are any. Those whose address has credentials come from the Secret
    /// `secret` of the same namespace, which must have the keys of [`secret_data`](Self::secret_data).
    pub fn env(&self, secret: &str) -> Option<Vec<EnvVar>> {
        let of_secret = |key: &str| EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                ..SecretKeySelector::default()
            }),
            ..EnvVarSource::default()
        };
        let mut variables = Vec::new();
        for (name, url) in self.0.urls() {
            let source = url.has_credentials().then(|| of_secret(name));
            variables.push(EnvVar {
                name: name.to_owned(),
                value: source.is_none().then(|| url.expose().to_owned()),
                value_from: source,
            });
        }
        if !self.is_empty() {
            let value = Some(format!("{},{API_SERVER}", self.0.no_proxy()));
            variables.push(EnvVar { name: NO_PROXY.to_owned(), value, ..EnvVar::default() });
        }
        let lower =
            |variable: &EnvVar| EnvVar { name: variable.name.to_ascii_lowercase(), ..variable.clone() };
        let both = variables.iter().cloned().chain(variables.iter().map(lower));
        (!variables.is_empty()).then(|| both.collect())
    }

    /// Returns the addresses that have credentials, by their keys in a Secret.
    pub fn secret_data(&self) -> BTreeMap<String, ByteString> {
        let with_credentials = self.0.urls().filter(|(_, url)| url.has_credentials());
        with_credentials
            .map(|(name, url)| (name.to_owned(), ByteString(url.expose().as_bytes().to_vec())))
            .collect()
    }

    /// Makes sure that the Secret of the name in `metadata` has the addresses with credentials, for a daemon that outlives builds.
    /// `existing` is that Secret, if the caller has just seen it. Returns a mark of the addresses, which changes when they do: a container
    /// gets its variables when it starts, so a pod with another mark has to take its place. If no address has credentials, does
    /// nothing and returns `None`.
    ///
    /// # Errors
    /// If the API server refuses or cannot be reached.
    pub async fn keep_in_secret(
        &self,
        cluster: &Cluster,
        metadata: ObjectMeta,
        existing: Option<Secret>,
    ) -> Result<Option<String>, ClusterError> {
        if !self.have_credentials() {
            return Ok(None);
        }
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = metadata.name.clone().unwrap_or_default();
        let existing = match existing {
            Some(existing) => Some(existing),
            None => match cluster.create(&self.secret(metadata)).await? {
                Some(created) => Some(created),
                // Somebody else was quicker.
                None => cluster.get::<Secret>(&namespace, &name).await?,
            },
        };
        let mut live = existing.and_then(|secret| secret.data).unwrap_or_default();
        let (salt, is_new) = live.remove(SALT).map_or_else(|| (salt(), true), |salt| (salt, false));
        let wanted = self.secret_data();
        if is_new || live != wanted {
            let gone =
                live.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), json!(null)));
            let there = wanted.iter().map(|(key, value)| (key.clone(), json!(value)));
            let data: serde_json::Map<_, _> =
                gone.chain(there).chain([(SALT.to_owned(), json!(salt))]).collect();
            cluster.merge::<Secret>(&namespace, &name, &json!({ "data": data })).await?;
        }
        Ok(Some(mark(&salt, &wanted)))
    }

    /// Returns that Secret, as it is first.
    fn secret(&self, metadata: ObjectMeta) -> Secret {
        let data = self.secret_data().into_iter().chain([(SALT.to_owned(), salt())]).collect();
        Secret { metadata, data: Some(data), ..Secret::default() }
    }
}

/// Returns the end of a container's variable that is a reference of ours, which the node has to replace. What comes before it is the user's.
pub(crate) fn reference_in<'v>(name: &str, value: &'v str) -> &'v str {
    let is_ours = name.eq_ignore_ascii_case(NO_PROXY) && value.ends_with(&format!(",{API_SERVER}"));
    if is_ours { &value[value.len() - API_SERVER.len()..] } else { "" }
}

fn salt() -> ByteString {
    ByteString(uuid::Uuid::new_v4().simple().to_string().into_bytes())
}

fn mark(salt: &ByteString, data: &BTreeMap<String, ByteString>) -> String {
    let json = json!([salt, data]).to_string();
    Digest::of(json.as_bytes()).hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(http: Option<&str>, https: Option<&str>, no: Option<&str>) -> BuilderProxies {
        let mut options = ProxyOptions::default();
        options.http_proxy = http.map(Into::into);
        options.https_proxy = https.map(Into::into);
        options.no_proxy = no.map(str::to_owned);
        BuilderProxies::new(&options)
    }

    #[test]
    fn variables_have_both_cases_and_what_is_in_the_cluster_is_reached_directly() {
        let proxies = proxies(Some("http://p$(x):3128"), None, Some("registry.example, 10.0.0.0/8,"));
        let env = proxies.env("unused").expect("variables");
        let env: Vec<_> =
            env.iter().map(|it| (it.name.as_str(), it.value.as_deref().expect("a value"))).collect();
        let no_proxy = "registry.example,10.0.0.0/8,localhost,127.0.0.1,::1,169.254.0.0/16,.svc,.cluster.local,\
                        $(KUBERNETES_SERVICE_HOST)";
        let expected = [
            ("HTTP_PROXY", "http://p$(x):3128"),
            ("NO_PROXY", no_proxy),
            ("http_proxy", "http://p$(x):3128"),
            ("no_proxy", no_proxy),
        ];
        assert_eq!(env, expected);
        // The node replaces nothing in what a step gets.
        let args = proxies.variables().build_args(&BTreeMap::new());
        assert_eq!(args["HTTP_PROXY"], "http://p$(x):3128");
        assert_eq!(format!("{},$(KUBERNETES_SERVICE_HOST)", args["no_proxy"]), no_proxy);
        assert_eq!(reference_in("no_proxy", no_proxy), API_SERVER);
        assert_eq!((reference_in("HTTP_PROXY", no_proxy), reference_in("NO_PROXY", API_SERVER)), ("", ""));
        assert_eq!((proxies.have_credentials(), proxies.secret_data()), (false, BTreeMap::new()));
    }

    #[test]
    fn an_address_with_a_password_is_in_the_secret_alone() {
        let proxies = proxies(Some("http://p:1"), Some("http://who:s3cret@p:2"), None);
        let env = serde_json::to_value(proxies.env("the-secret").expect("variables")).expect("serialises");
        assert_eq!(
            env[0],
            json!({ "name": "HTTPS_PROXY", "valueFrom": { "secretKeyRef": { "name": "the-secret", "key": "HTTPS_PROXY" } } })
        );
        assert_eq!(env[1], json!({ "name": "HTTP_PROXY", "value": "http://p:1" }));
        assert!(!format!("{env} {proxies:?}").contains("s3cret"), "{env} {proxies:?}");
        let data = proxies.secret_data();
        assert_eq!(data.keys().collect::<Vec<_>>(), ["HTTPS_PROXY"]);
        assert_eq!(data["HTTPS_PROXY"].0, b"http://who:s3cret@p:2");
    }

    #[test]
    fn without_a_proxy_there_are_no_variables() {
        let none = proxies(None, None, Some("registry.example"));
        assert!(none.is_empty());
        assert_eq!((none.env("unused"), none), (None, BuilderProxies::default()));
    }
}
