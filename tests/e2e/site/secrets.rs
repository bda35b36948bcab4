//! Secrets of a project, for registries.

use std::collections::BTreeMap;

use garden_build::config::SecretRef;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::Project;

impl Project {
    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn create_registry_secret(
        &self,
        name: &str,
        host: &str,
        username: &str,
        password: &str,
    ) {
        let config = json!({ "auths": { host: { "username": username, "password": password } } });
        self.create_docker_config_secret(name, &config).await;
    }

    /// Creates a secret for registries with this Docker configuration.
    pub(crate) async fn create_docker_config_secret(&self, name: &str, config: &serde_json::Value) {
        let secret = Secret {
            metadata: kube::core::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            data: Some(BTreeMap::from([(
                ".dockerconfigjson".to_owned(),
                ByteString(config.to_string().into_bytes()),
            )])),
            ..Secret::default()
        };
        self.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    /// Replaces what is in a secret for registries.
    pub(crate) async fn replace_registry_secret(
        &self,
        name: &str,
        host: &str,
        username: &str,
        password: &str,
    ) {
        self.secrets().delete(name, &DeleteParams::default()).await.unwrap();
        self.create_registry_secret(name, host, username, password).await;
    }

    /// Uses the secret `name` of the project's namespace as one of the `imagePullSecrets`.
    pub(crate) fn use_pull_secret(&mut self, name: &str) {
        let secret = SecretRef::new(name).in_namespace(&self.namespace);
        self.provider.image_pull_secrets.push(secret);
    }
}
