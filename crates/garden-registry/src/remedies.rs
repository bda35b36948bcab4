/// What can be done about a registry that cannot be used, in the words of whoever made the client.
///
/// This crate does not know where a user sets what the client was made with: in a project file, in a request, or in a
/// program. Each remedy is a clause that says what to do, such as "set `insecure`". It stands within a sentence, so it
/// ends without a full stop. Where it says "this registry", the message before it names the registry,
/// and the repository if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remedies {
    /// To name another registry: the name is malformed, or leads to a server that is not the registry itself.
    pub name: &'static str,
    /// To give certificates in PEM form: what was given is not that.
    pub certificates: &'static str,
    /// To trust the authority that signed the certificate of the registry, or of a server that the registry names.
    pub authority: &'static str,
    /// To speak plain HTTP: TLS was expected, and the registry does not speak it.
    pub plain_http: &'static str,
    /// To speak TLS: plain HTTP was expected, and the registry may not speak it.
    pub tls: &'static str,
    /// To give credentials: there are none for what was asked of this registry.
    pub credentials: &'static str,
    /// To let credential helpers of this machine be run for this registry.
    pub helpers: &'static str,
}

impl Remedies {
    /// Those of a program that makes its own client: methods of
    /// [`RegistryClientBuilder`](crate::RegistryClientBuilder).
    pub const OF_PROGRAM: Self = Self {
        name: "name the registry as `host` or `host:port` in `RegistryClient::builder`",
        certificates: "give `RegistryClientBuilder::ca_certificates` one or more certificates in PEM form",
        authority: "give `RegistryClientBuilder::ca_certificates` the certificate of the authority that signed the \
                    server's",
        plain_http: "call `RegistryClientBuilder::insecure(true)`",
        tls: "do without `RegistryClientBuilder::insecure`",
        credentials: "give `RegistryClientBuilder::credentials` an entry for this registry",
        helpers: "allow helpers for it by `Credentials::allow_helpers`",
    };
}
