//! The daemon of a namespace, with an API server in this process.
//!
//! * `life`: brought up, stopped when nobody uses it, brought back.
//! * `network_policy`: who may connect to its pods.
//! * `proxies`: one whose proxy wants a password.
//! * `pull_secrets`: with which Secrets nodes pull its image.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::collections::BTreeSet;

use garden_buildkit::spec::{DaemonOptions, Settings};
use garden_cluster::{BuilderProxies, Cluster, RegistryCredentials};
use garden_config::{IdleAfter, Namespace, Resources};

mod life;
mod network_policy;
mod proxies;
mod pull_secrets;

const NAMESPACE: &str = "shop";

fn settings() -> Settings {
    Settings {
        namespace: Namespace::new(NAMESPACE),
        options: DaemonOptions { image: "example/buildkit:1".to_owned(), ..DaemonOptions::default() },
        resources: Resources::builder(),
        idle_after: IdleAfter::default(),
        registries: Vec::new(),
        pull_secrets: BTreeSet::new(),
        certificates: None,
        proxies: BuilderProxies::default(),
        proxy_secret: None,
        traces_url: None,
        network_policies: false,
    }
}

/// The logins of a project without `imagePullSecrets`.
fn no_credentials(cluster: &Cluster) -> RegistryCredentials {
    RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new())
}
