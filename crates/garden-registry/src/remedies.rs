// Why: docs/decisions/62-facts-travel-words-come-last.md

use garden_build_core::{HintCode, Remedy};

/// What can be done about a registry that cannot be used, in the words of whoever made the client.
///
/// This crate does not know where a user sets what the client was made with: in a project file, in a request, or in a
/// program. Each remedy is a clause that says what to do, such as "set `insecure`". It stands within a sentence, so it
/// ends without a full stop. Where it says "this registry", the message before it names the registry,
/// and the repository if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remedies {
    /// To name another registry: the name is malformed, or leads to a server that is not the registry itself.
    pub name: Remedy,
    /// To give certificates in PEM form: what was given is not that.
    pub certificates: Remedy,
    /// To trust the authority that signed the certificate of the registry, or of a server that the registry names.
    pub authority: Remedy,
    /// To speak plain HTTP: TLS was expected, and the registry does not speak it.
    pub plain_http: Remedy,
    /// To speak TLS: plain HTTP was expected, and the registry may not speak it.
    pub tls: Remedy,
    /// To give credentials: there are none for what was asked of this registry.
    pub credentials: Remedy,
    /// To let credential helpers of this machine be run for this registry.
    pub helpers: Remedy,
}

impl Remedies {
    /// Those of a program that makes its own client: methods of
    /// [`RegistryClientBuilder`](crate::RegistryClientBuilder).
    pub const OF_PROGRAM: Self = Self {
        name: Remedy::new("name the registry as `host` or `host:port` in `RegistryClient::builder`"),
        certificates: Remedy::new(
            "give `RegistryClientBuilder::ca_certificates` one or more certificates in PEM form",
        ),
        authority: Remedy::new(
            "give `RegistryClientBuilder::ca_certificates` the certificate of the authority that signed the \
                    server's",
        ),
        plain_http: Remedy::new("call `RegistryClientBuilder::insecure(true)`"),
        tls: Remedy::new("do without `RegistryClientBuilder::insecure`"),
        credentials: Remedy::new("give `RegistryClientBuilder::credentials` an entry for this registry")
            .coded(HintCode::LogIn),
        helpers: Remedy::new("allow helpers for it by `Credentials::allow_helpers`"),
    };
}
