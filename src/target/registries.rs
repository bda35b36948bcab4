//! The way to images in registries: one client for each registry, with the credentials that count now.

use std::sync::Arc;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, ImageReference, Result};
use garden_cluster::{Cluster, ClusterDialer, RegistryAccess, RegistryCredentials};
use garden_registry::{Credentials, Dial as _, Location, Place, RegistryClient, RegistryError, Remedies};

use super::clients::{Clients, Reach};
use super::{Target, TargetRegistry};
use crate::remedies;

/// How long the registry of a base image may take to answer all that is asked about the image. It often cannot be reached from
/// here, behind a firewall that drops what it does not like; without an answer, a build sends more than it has to, and that is all.
const BASE_PATIENCE: Duration = Duration::from_secs(5);

/// How long the registry that images go to may take. It gets more time, because a build that does not reach it fails anyway.
const TARGET_PATIENCE: Duration = Duration::from_secs(30);

/// A place where an image is looked for that a Dockerfile names.
#[derive(Debug)]
pub(crate) struct BasePlace {
    pub(crate) location: Location,
    /// How long it may take to answer everything.
    pub(crate) patience: Duration,
    remedies: &'static Remedies,
}

impl BasePlace {
    /// A place that is not the registry that images go to.
    pub(crate) fn elsewhere(registry: RegistryClient, image: ImageReference) -> Self {
        let location = Location { registry, image };
        Self { location, patience: BASE_PATIENCE, remedies: &remedies::OF_BASE_IMAGE }
    }

    /// Explains what happened there, and what to do about it.
    pub(crate) fn explain(&self, error: RegistryError) -> Error {
        error.explain(self.remedies)
    }
}

/// How registries are asked. Cheap to clone; clones share clients and credentials.
#[derive(Clone, Debug)]
pub(crate) struct Registries {
    /// Those of builds, which builders share.
    credentials: RegistryCredentials,
    /// The same, and whoever the `docker` command is logged in as.
    docker_command: RegistryCredentials,
    builds_as_docker_command: bool,
    dialer: Arc<ClusterDialer>,
    clients: Clients,
}

impl Registries {
    /// Asks with the credentials in `secrets`, builds also with those of the `docker` command if they
    /// `build_as_docker_command`.
    pub(super) fn new(
        cluster: &Cluster,
        secrets: RegistryCredentials,
        builds_as_docker_command: bool,
    ) -> Self {
        let docker_command = secrets.clone().and_docker_command();
        let credentials = if builds_as_docker_command { docker_command.clone() } else { secrets };
        Self {
            credentials,
            docker_command,
            builds_as_docker_command,
            dialer: Arc::new(ClusterDialer::new(cluster.clone())),
            clients: Clients::default(),
        }
    }

    /// Returns the credentials of builds.
    pub(crate) fn credentials(&self) -> &RegistryCredentials {
        &self.credentials
    }

    /// Begins something for which changed credentials have to count, for example a build, or another try after a refusal.
    pub(crate) fn begin(&self) {
        self.docker_command.expire();
    }

    /// Makes sure that a registry may be asked that only a Dockerfile names. It may name a Service of the cluster, which this machine
    /// reaches with the rights of its user, or what listens on this machine.
    ///
    /// # Errors
    /// If it is at such a place, the configuration says nothing of it, and the registry that images go to, which is at `target`, is at
    /// another one.
    fn may_ask(&self, access: &RegistryAccess, target: Option<&str>) -> Result<()> {
        let place_of = |authority: &str| {
            let host = match authority.rsplit_once(':') {
                Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
                _ => authority,
            };
            self.dialer.place(host)
        };
        let place = place_of(&access.host);
        let is_beside = target.is_some_and(|target| place_of(target) == place);
        if place == Place::Network || !access.is_ordinary() || is_beside {
            return Ok(());
        }
        let message = format!("the registry {} is not asked from here, as it is {place}", access.host);
        Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("say how it is reached, as for any registry without an ordinary certificate"))
    }

    /// Returns the client of a registry. What is wrong with how it is reached is explained with `remedies`.
    ///
    /// # Errors
    /// If the credentials cannot be read, or the registry's name or certificates are malformed.
    pub(crate) async fn client(&self, access: RegistryAccess, remedies: &Remedies) -> Result<RegistryClient> {
        let authority = access.certificate_authority.map(String::into_bytes);
        let reach = Reach {
            host: access.host,
            insecure: access.insecure,
            certificate_authority: authority,
            as_docker_command: self.builds_as_docker_command,
        };
        self.kept(reach, &self.credentials, remedies).await
    }

    /// Returns the client of a registry that an image is published to.
    ///
    /// # Errors
    /// As those of [`client`](Self::client).
    pub(crate) async fn publishing_client(
        &self,
        host: &str,
        insecure: bool,
        certificate_authority: Option<Vec<u8>>,
        credentials: Option<Credentials>,
    ) -> Result<RegistryClient> {
        let reach = Reach { host: host.to_owned(), insecure, certificate_authority, as_docker_command: true };
        match credentials {
            // Somebody's own, for this once.
            Some(credentials) => {
                self.make(&reach, credentials).map_err(|error| error.explain(&remedies::OF_DESTINATION))
            }
            None => self.kept(reach, &self.docker_command, &remedies::OF_DESTINATION).await,
        }
    }

    async fn kept(
        &self,
        reach: Reach,
        credentials: &RegistryCredentials,
        remedies: &Remedies,
    ) -> Result<RegistryClient> {
        let credentials = credentials.read().await?;
        let make = |reach: &Reach, credentials| self.make(reach, credentials);
        self.clients.get(reach, credentials, make).map_err(|error| error.explain(remedies))
    }

    fn make(
        &self,
        reach: &Reach,
        credentials: Credentials,
    ) -> std::result::Result<RegistryClient, RegistryError> {
        let mut client = RegistryClient::builder(&reach.host)
            .insecure(reach.insecure)
            .credentials(credentials)
            .dialer(Arc::clone(&self.dialer) as _);
        if let Some(authority) = &reach.certificate_authority {
            client = client.ca_certificates(authority.clone());
        }
        client.build()
    }
}

impl Target {
    /// Returns the client of the registry that images go to.
    ///
    /// # Errors
    /// If images go to none, or the credentials cannot be read.
    pub(crate) async fn client(&self) -> Result<RegistryClient> {
        let TargetRegistry { push, remedies, .. } = self.registry()?;
        self.registries.client(push.access(), remedies).await
    }

    /// Finds the way to an image of the registry. An image of another registry is an error.
    pub(crate) async fn locate(&self, reference: &ImageReference) -> Result<Location> {
        let image = if self.has(reference) { self.reached(reference)? } else { reference.clone() };
        Ok(Location { registry: self.client().await?, image })
    }

    /// Finds the way to an image that a Dockerfile names, in a registry that builders reach by `access`: in the one that images
    /// go to, or in another one.
    pub(crate) async fn locate_base(
        &self,
        access: RegistryAccess,
        image: ImageReference,
    ) -> Result<BasePlace> {
        let target = self.registry().ok();
        if let Some(TargetRegistry { push, remedies, .. }) = target
            && (image.registry() == push.reached.host() || self.has(&image))
        {
            let (location, remedies) = (self.locate(&image).await?, *remedies);
            return Ok(BasePlace { location, patience: TARGET_PATIENCE, remedies });
        }
        let target = target.map(|target| target.push.reached.host());
        self.registries.may_ask(&access, target.as_deref())?;
        let registry = self.registries.client(access, &remedies::OF_BASE_IMAGE).await?;
        Ok(BasePlace::elsewhere(registry, image))
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;

    #[tokio::test]
    async fn a_dockerfile_has_nobody_asked_whom_only_this_machine_reaches() {
        let nobody = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("no cluster") });
        let cluster = Cluster::new(Client::new(nobody, "default"));
        let secrets = RegistryCredentials::of_secrets(cluster.clone(), "imagePullSecrets", Vec::new());
        let registries = Registries::new(&cluster, secrets, false);
        for host in [
            "api.other.svc.cluster.local",
            "api.other.svc:8080",
            "localhost:5000",
            "127.0.0.1:2375",
            "[::1]:80",
            "169.254.169.254",
        ] {
            let access = RegistryAccess::ordinary(host);
            let error = registries.may_ask(&access, Some("r.example")).expect_err(host);
            assert!(error.message().contains(host) && error.hint().is_some(), "{error}");
            // Whoever has images there has others there, too.
            assert!(registries.may_ask(&access, Some(host)).is_ok(), "{host}");
            // Where the configuration says how it is reached, it is meant.
            let known = RegistryAccess { insecure: true, ..access };
            assert!(registries.may_ask(&known, None).is_ok(), "{host}");
        }
        for host in ["r.example", "r.example:5000", "10.0.0.1:5000"] {
            assert!(registries.may_ask(&RegistryAccess::ordinary(host), None).is_ok(), "{host}");
        }
    }
}
