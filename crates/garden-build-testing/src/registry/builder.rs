use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::answer::Ways;
use super::login::Logins;
use super::server::{Side, listen};
use super::state::{Shared, State};
use super::{Registry, Running};
use crate::{Authority, IssuedCertificate};

/// Describes a [`Registry`] that is to be started. Made by [`Registry::builder`].
#[derive(Debug)]
#[must_use]
pub struct RegistryBuilder {
    logins: Logins,
    ways: Ways,
    tls: Option<Tls>,
    has_storage: bool,
}

#[derive(Debug)]
struct Tls {
    authority: String,
    server: IssuedCertificate,
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        let ways = Ways { has_referrers: true, has_immutable_tags: false };
        Self { logins: Logins::default(), ways, tls: None, has_storage: false }
    }
}

impl RegistryBuilder {
    /// Adds a user with a password. Whoever shows one may do everything, and nobody else is let in. Default: no users, and everybody may do everything.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.logins.passwords.insert(user.into(), password.into());
        self
    }

    /// Sends clients to a token server (`Bearer`), at the registry's own address, instead of asking for passwords itself (`Basic`). Of
    /// no effect without a [login](Self::login).
    pub fn tokens(mut self) -> Self {
        self.logins.has_tokens = true;
        self
    }

    /// Sets how long tokens last, by Tokio's clock; clients hear of whole seconds. Default: 300 s.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.logins.lifetime = lifetime;
        self
    }

    /// Lets everybody read, and only those with a [login](Self::login) write and delete. With [tokens](Self::tokens), whoever has no
    /// login still needs a token.
    pub fn public(mut self) -> Self {
        self.logins.is_public = true;
        self
    }

    /// Speaks TLS, with a certificate for `127.0.0.1` and `localhost` of an authority that is made for it: see
    /// [`Registry::ca_certificate`].
    pub fn tls(self) -> Self {
        self.tls_of(&Authority::new())
    }

    /// Speaks TLS, with a certificate of `authority` for `127.0.0.1` and `localhost`.
    pub fn tls_of(self, authority: &Authority) -> Self {
        self.tls_with(authority.pem(), authority.issue(["127.0.0.1", "localhost"]))
    }

    /// Speaks TLS with this certificate, which may be one that clients have to refuse. `authority` is what
    /// [`Registry::ca_certificate`] returns.
    pub fn tls_with(mut self, authority: impl Into<String>, server: IssuedCertificate) -> Self {
        self.tls = Some(Tls { authority: authority.into(), server });
        self
    }

    /// Redirects whoever reads a blob to another port, as registries of clouds do. There, a signature in the address is enough, and a request with a
    /// login is refused. The requests there are among [`Registry::requests`].
    pub fn redirect_blobs(mut self) -> Self {
        self.has_storage = true;
        self
    }

    /// Does without the referrers API, as registries before version 1.1 of the specification: clients keep lists of referrers under the
    /// tag `sha256-…` instead.
    pub fn without_referrers(mut self) -> Self {
        self.ways.has_referrers = false;
        self
    }

    /// Refuses to push a manifest under a tag that exists, as Amazon ECR does if it is set up so. What a test puts into the registry itself is not
    /// refused.
    pub fn immutable_tags(mut self) -> Self {
        self.ways.has_immutable_tags = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn start(self) -> Registry {
        let Self { logins, ways, tls, has_storage } = self;
        let (registry, host) = bind().await;
        let storage = if has_storage { Some(bind().await) } else { None };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = |host: &str| format!("{scheme}://{host}");
        let storage_url = storage.as_ref().map(|(_, host)| url(host));
        let shared = Shared::new(State::new(logins, ways, url(&host), storage_url));
        let acceptor = tls.as_ref().map(|tls| tls.server.acceptor());
        let listen =
            |listener, side| tokio::spawn(listen(listener, acceptor.clone(), Arc::clone(&shared), side));
        let mut listeners = vec![listen(registry, Side::Registry)];
        listeners.extend(storage.map(|(listener, _)| listen(listener, Side::Storage)));
        let running = Running { ca_certificate: tls.map(|tls| tls.authority), listeners };
        Registry { shared, running: Some(Arc::new(running)) }
    }
}

async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port of this machine");
    let host = listener.local_addr().expect("it is bound").to_string();
    (listener, host)
}
