//! What a user can do about a registry that cannot be used, in the words of the options that the registry was named with.
//!
//! Why: docs/decisions/62-facts-travel-words-come-last.md

use garden_build_core::Remedy;
use garden_cluster::{RegistryRemedies, RegistryWords};
use garden_registry::Remedies;

const CERTIFICATES: Remedy = Remedy::set(
    &["deploymentRegistry.caCertificate"],
    "set `deploymentRegistry.caCertificate` to a file with one or more certificates in PEM form",
);
const AUTHORITY: Remedy = Remedy::set(
    &["deploymentRegistry.caCertificate"],
    "set `deploymentRegistry.caCertificate` to the certificate of the authority that signed the server's",
);

/// The deployment registry, which builders in the cluster push to.
pub(crate) const OF_DEPLOYMENT_REGISTRY: Remedies = Remedies {
    name: Remedy::set(
        &["deploymentRegistry.hostname", "deploymentRegistry.port"],
        "set `deploymentRegistry.hostname` to the registry's own host name and, if it has one, \
           `deploymentRegistry.port` to its port",
    ),
    certificates: CERTIFICATES,
    authority: AUTHORITY,
    plain_http: Remedy::set(&["deploymentRegistry.insecure"], "set `deploymentRegistry.insecure: true`"),
    tls: Remedy::set(&["deploymentRegistry.insecure"], "remove `deploymentRegistry.insecure`"),
    credentials: Remedy::log_in(
        &["imagePullSecrets"],
        "add a Secret with a user and a password for this registry to `imagePullSecrets`",
    ),
    helpers: HELPERS,
};

/// Helpers that a Secret names.
const HELPERS: Remedy = Remedy::set(
    &["credentialHelpersFor"],
    "add this registry to those that the program allows helpers for (`credentialHelpersFor`), if a Secret may have the helper run here",
);

/// The deployment registry, where local-docker builds. The `docker` command's credentials count, too.
pub(crate) const OF_DEPLOYMENT_REGISTRY_BY_DOCKER: Remedies = Remedies {
    credentials: Remedy::log_in(
        &["imagePullSecrets"],
        "log in to this registry with `docker login`, or add a Secret with a user and a password for it to \
                  `imagePullSecrets`",
    ),
    ..OF_DEPLOYMENT_REGISTRY
};

/// The registry within the cluster: `Builder::init` installs it, and nobody can configure how it is reached.
pub(crate) const OF_REGISTRY_IN_CLUSTER: Remedies = Remedies {
    name: INSTALL,
    certificates: INSTALL,
    authority: INSTALL,
    plain_http: INSTALL,
    tls: INSTALL,
    credentials: INSTALL,
    helpers: INSTALL,
};

const INSTALL: Remedy = Remedy::set_and_install(
    &["inClusterRegistry.passwordForPushes"],
    "install it again (`init`), as the registry within the cluster has no TLS, and no users but the one of \
                       `inClusterRegistry.passwordForPushes`: something else answers in its place, or it was changed",
);

/// The registry within the cluster, as far as it is made of options.
pub(crate) const OF_REGISTRY_S_POD: RegistryWords = RegistryWords::new(&RegistryRemedies {
    memory: Remedy::set_and_install(
        &["resources.registry.limits.memory"],
        "raise `resources.registry.limits.memory`, and install again (`init`)",
    ),
    evicted: Remedy::set_and_install(
        &["resources.registry.requests"],
        "raise `resources.registry.requests`, so that it gets a node with room, and install again (`init`)",
    ),
    scheduling: Remedy::set(
        &["systemNodeSelector", "resources.registry.requests"],
        "check `systemNodeSelector` and `resources.registry.requests` against the cluster's nodes",
    ),
    image: Remedy::set(
        &["inClusterRegistry.image", "utilImageRegistryDomain", "imagePullSecrets"],
        "check `inClusterRegistry.image`, and that nodes can reach where it comes from (`utilImageRegistryDomain` names another \
            place); installing (`init`) brings those of `imagePullSecrets` there that have a user and a password for its registry",
    ),
    start: Remedy::set(
        &["inClusterRegistry.image"],
        "check that `inClusterRegistry.image` is a registry with `sh` and `nc`, and that user 1000 may write to its volume",
    ),
    quota: Remedy::set(
        &["resources.registry"],
        "lower `resources.registry`, or raise the namespace's ResourceQuota",
    ),
    limit_range: Remedy::set(
        &["resources.registry"],
        "set amounts in `resources.registry` that the namespace's LimitRange allows",
    ),
    disk_limit: Remedy::set(
        &["resources.registry.limits.ephemeralStorage"],
        "raise `resources.registry.limits.ephemeralStorage`, or set it if a LimitRange of the namespace sets a lower one",
    ),
    storage_class: "storage.registry.storageClass",
    keeps_size: Remedy::set(&["storage.registry.size"], "set `storage.registry.size` to its size"),
    volume_quota: Remedy::set(
        &["storage.registry.size"],
        "set `storage.registry.size` to less, or raise the namespace's ResourceQuota",
    ),
    taints: Remedy::set(
        &["registryProxyTolerations"],
        "set `registryProxyTolerations` to tolerate the taints of the nodes",
    ),
    foreign: Remedy::set(
        &["gardenSystemNamespace"],
        "uninstall it there, or set `gardenSystemNamespace` to another namespace, if nothing uses the port 5000 of the nodes",
    ),
    password_wanted: Remedy::set_and_install(
        &["inClusterRegistry.passwordForPushes"],
        "set `inClusterRegistry.passwordForPushes: true`; or, if everybody may push, delete the Secret `garden-docker-registry-login` \
                      there, and install again (`init`) without that option",
    ),
    password_missing: Remedy::set_and_install(
        &["inClusterRegistry.passwordForPushes"],
        "install again (`init`), which makes it; or leave `inClusterRegistry.passwordForPushes` out if the registry was installed \
                       without",
    ),
});

/// The registry that an image is published to.
pub(crate) const OF_DESTINATION: Remedies = Remedies {
    name: Remedy::request(
        &["destination"],
        "name the registry as `host` or `host:port` in `destination` of the request",
    ),
    certificates: Remedy::request(
        &["caCertificates"],
        "set `caCertificates` of the request to one or more certificates in PEM form",
    ),
    authority: Remedy::request(
        &["caCertificates"],
        "set `caCertificates` of the request to the certificate of the authority that signed the server's",
    ),
    plain_http: Remedy::request(&["insecure"], "set `insecure` of the request"),
    tls: Remedy::request(&["insecure"], "do without `insecure` of the request"),
    credentials: Remedy::log_in(
        &["credentials"],
        "log in to this registry with `docker login`, or set `credentials` of the request",
    ),
    helpers: HELPERS,
};

/// The registry of a base image, or a mirror of it, as this machine asks it: in the way that builders use.
pub(crate) const OF_BASE_IMAGE: Remedies = Remedies {
    name: Remedy::new("correct the image's name in the Dockerfile, or that of the mirror"),
    certificates: Remedy::set(
        &["clusterBuildkit.registries"],
        "set `caCertificate` of this registry in `clusterBuildkit.registries` to a file with one or more \
                   certificates in PEM form",
    ),
    authority: Remedy::set(
        &["clusterBuildkit.registries"],
        "add the authority that signed the server's certificate to those that this machine trusts, or name it for \
                this registry in `clusterBuildkit.registries` (`caCertificate`)",
    ),
    plain_http: Remedy::set(
        &["clusterBuildkit.registries", "kaniko.extraFlags"],
        "set `insecure: true` for this registry in `clusterBuildkit.registries`; kaniko takes \
                 `--insecure-registry` in `kaniko.extraFlags`",
    ),
    tls: Remedy::set(
        &["clusterBuildkit.registries", "kaniko.extraFlags"],
        "remove `insecure` of this registry from `clusterBuildkit.registries`, or `--insecure-registry` from \
          `kaniko.extraFlags`",
    ),
    credentials: OF_DEPLOYMENT_REGISTRY.credentials,
    helpers: HELPERS,
};

#[cfg(test)]
mod tests {
    use garden_build_core::Hint;
    use garden_cluster::Cluster;
    use garden_config::{BuildMode, DeploymentRegistry, KanikoOptions, ProviderConfig};
    use garden_registry::RegistryClient;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;
    use crate::target::Target;

    /// What is advised where images go, when the certificates that were given for it cannot be used.
    fn hint(mode: BuildMode, deployment: Option<&str>) -> String {
        let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
        let cluster = Cluster::new(Client::new(nobody, "default"));
        let mut provider = ProviderConfig::kubernetes("demo");
        provider.build_mode = mode;
        provider.deployment_registry = deployment.map(|host| DeploymentRegistry::new(host).expect("a host"));
        let target = Target::new(&provider, &cluster, None).expect("a registry");
        let remedies = target.registry().expect("a registry").remedies;
        let damaged =
            RegistryClient::builder("registry.example").ca_certificates(b"damaged".to_vec()).build();
        let hint =
            damaged.expect_err("no certificates").explain(remedies).hint().unwrap_or_default().to_owned();
        format!("{hint} {}", remedies.credentials)
    }

    #[tokio::test]
    async fn each_registry_is_mended_by_the_options_that_it_has() {
        let kaniko = || BuildMode::Kaniko(KanikoOptions::default());
        let deployment = hint(kaniko(), Some("registry.example"));
        assert!(deployment.contains("deploymentRegistry.caCertificate"), "{deployment}");
        assert!(!deployment.contains("docker login"), "nobody reads those of the command: {deployment}");
        let by_docker = hint(BuildMode::LocalDocker, Some("registry.example"));
        assert!(
            by_docker.contains("deploymentRegistry") && by_docker.contains("docker login"),
            "{by_docker}"
        );
        let in_cluster = hint(kaniko(), None);
        assert!(in_cluster.contains("install it again (`init`)"), "{in_cluster}");
        assert!(!in_cluster.contains("deploymentRegistry") && !in_cluster.contains("imagePullSecrets"));
    }

    #[test]
    fn a_user_of_a_front_end_reads_of_options_and_not_of_methods() {
        for remedies in [
            OF_DEPLOYMENT_REGISTRY,
            OF_DEPLOYMENT_REGISTRY_BY_DOCKER,
            OF_REGISTRY_IN_CLUSTER,
            OF_DESTINATION,
            OF_BASE_IMAGE,
        ] {
            let Remedies { name, certificates, authority, plain_http, tls, credentials, helpers } = remedies;
            for remedy in [name, certificates, authority, plain_http, tls, credentials, helpers] {
                let hint = Hint::from(remedy);
                let is_of_rust = |name: &str| name.contains("::") || name.contains('_');
                assert!(!hint.text.split('`').skip(1).step_by(2).any(is_of_rust), "{hint}");
                for option in &hint.options {
                    let last = option.rsplit('.').next().unwrap_or_default();
                    assert!(hint.text.contains(last), "{option}: {hint}");
                }
            }
        }
    }
}
