//! What a user can do about a registry that cannot be used, in the words of the options that the registry was named with.

use garden_registry::Remedies;

const CERTIFICATES: &str =
    "set `deploymentRegistry.caCertificate` to a file with one or more certificates in PEM form";
const AUTHORITY: &str =
    "set `deploymentRegistry.caCertificate` to the certificate of the authority that signed the server's";

/// The deployment registry, which builders in the cluster push to.
pub(crate) const OF_DEPLOYMENT_REGISTRY: Remedies = Remedies {
    name: "set `deploymentRegistry.hostname` to the registry's own host name and, if it has one, \
           `deploymentRegistry.port` to its port",
    certificates: CERTIFICATES,
    authority: AUTHORITY,
    plain_http: "set `deploymentRegistry.insecure: true`",
    tls: "remove `deploymentRegistry.insecure`",
    credentials: "add a Secret with a user and a password for this registry to `imagePullSecrets`",
};

/// The deployment registry, where local-docker builds. The `docker` command's credentials count, too.
pub(crate) const OF_DEPLOYMENT_REGISTRY_BY_DOCKER: Remedies = Remedies {
    credentials: "log in to this registry with `docker login`, or add a Secret with a user and a password for it to \
                  `imagePullSecrets`",
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
};

const INSTALL: &str = "run `Builder::init`, as the registry within the cluster has neither TLS nor users: something else \
                       answers in its place, or it was changed";

/// The registry that an image is published to.
pub(crate) const OF_DESTINATION: Remedies = Remedies {
    name: "name the registry as `host` or `host:port` in `PublishRequest::destination`",
    certificates: "set `PublishRequest::ca_certificates` to one or more certificates in PEM form",
    authority: "set `PublishRequest::ca_certificates` to the certificate of the authority that signed the server's",
    plain_http: "set `PublishRequest::insecure`",
    tls: "do without `PublishRequest::insecure`",
    credentials: "log in to this registry with `docker login`, or set `PublishRequest::credentials`",
};

/// The registry of a base image, as this machine asks it. No option says how it is reached.
pub(crate) const OF_BASE_IMAGE: Remedies = Remedies {
    name: "correct the image's name in the Dockerfile",
    certificates: TRUST,
    authority: TRUST,
    plain_http: "mirror the image to a registry with TLS, or to the deployment registry",
    tls: "name a registry with TLS in the Dockerfile",
    ..OF_DEPLOYMENT_REGISTRY
};

const TRUST: &str =
    "add the authority that signed the server's certificate to those that this machine trusts";
