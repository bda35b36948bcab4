//! A registry for one test, guarded as those are that people meet.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use garden_build_core::{Digest, ImageReference};
use garden_build_testing::Authority;
use garden_registry::{Credentials, RegistryClient, RegistryClientBuilder};
use tempfile::TempDir;

use crate::process::{Process, Program};
use crate::support::{ORIGIN, PASSWORD, credentials};
use crate::token_server::TokenServer;

/// Who is let in, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Everybody, over plain HTTP.
    Open,
    /// Whoever has a user name and a password.
    Basic,
    /// Whoever has a token for the repository, from a token server.
    Token,
    /// Everybody, over TLS with a certificate that only those trust who are told to.
    Tls,
}

/// A registry that runs for as long as this lives.
pub(crate) struct Registry {
    pub(crate) guard: Guard,
    /// Where tokens come from, if it wants some.
    pub(crate) tokens: Option<TokenServer>,
    /// Whose certificate it has, if it has one.
    pub(crate) authority: Option<String>,
    program: Program,
    process: Process,
    directory: TempDir,
}

impl Registry {
    pub(crate) async fn start(program: Program, guard: Guard) -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, text: &str| {
            fs::write(path(name), text).expect("written");
            path(name).display().to_string()
        };
        let (mut tokens, mut authority) = (None, None);
        let mut extra = String::new();
        match guard {
            Guard::Open => {}
            Guard::Basic => {
                // The lowest cost that there is: the registry checks it on every request.
                let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
                let users = write("htpasswd", &format!("user:{hash}\n"));
                writeln!(extra, "auth: {{ htpasswd: {{ realm: test, path: \"{users}\" }} }}")
                    .expect("a line");
            }
            Guard::Token => {
                let server = TokenServer::start().await;
                let trusted = write("tokens.crt", &server.certificate);
                writeln!(
                    extra,
                    "auth:\n  token: {{ realm: \"{}\", service: {}, issuer: {}, rootcertbundle: \"{trusted}\" }}",
                    server.realm(),
                    TokenServer::SERVICE,
                    TokenServer::ISSUER
                )
                .expect("lines");
                tokens = Some(server);
            }
            Guard::Tls => {
                let trusted = Authority::new();
                let issued = trusted.issue(["127.0.0.1"]);
                let certificate = write("server.crt", &issued.certificate);
                let key = write("server.key", &issued.key);
                writeln!(extra, "  tls: {{ certificate: \"{certificate}\", key: \"{key}\" }}")
                    .expect("a line");
                authority = Some(trusted.pem().to_owned());
            }
        }
        let configuration =
            write("config.yml", &configuration(&path("storage").display().to_string(), &extra));
        let process = Process::start(program, configuration.as_ref());
        Self { guard, tokens, authority, program, process, directory }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// Where it keeps its images.
    pub(crate) fn storage(&self) -> PathBuf {
        self.directory.path().join("storage")
    }

    /// Has it forget a manifest that has no tag.
    pub(crate) fn lose_manifest(&self, repository: &str, digest: Digest) {
        let repositories = self.storage().join("docker/registry/v2/repositories");
        let manifest = format!("{repository}/_manifests/revisions/sha256/{}", digest.hex());
        fs::remove_dir_all(repositories.join(manifest)).expect("it is there");
    }

    /// Has its collector remove the blobs that no manifest names. Nobody may push meanwhile.
    pub(crate) fn collect_garbage(&self) {
        let mut collector = Command::new(self.program.path());
        collector.arg("garbage-collect").arg(self.directory.path().join("config.yml"));
        let output = collector.output().expect("the registry's program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The registry's name.
    pub(crate) fn name(&self) -> String {
        self.address().to_string()
    }

    pub(crate) fn image(&self, repository: &str, tag: &str) -> ImageReference {
        ImageReference::tagged(&self.name(), repository, tag).expect("valid")
    }

    pub(crate) fn image_by_digest(&self, repository: &str, digest: Digest) -> ImageReference {
        format!("{}/{repository}@{digest}", self.name()).parse().expect("valid")
    }

    /// A client that may do everything.
    pub(crate) fn client(&self) -> RegistryClient {
        self.client_with(match self.guard {
            Guard::Open | Guard::Tls => Credentials::new(),
            Guard::Basic | Guard::Token => credentials(&self.name()),
        })
    }

    pub(crate) fn client_with(&self, credentials: Credentials) -> RegistryClient {
        self.builder().credentials(credentials).build().expect("valid")
    }

    /// A client that knows of the certificate, and of no credentials.
    pub(crate) fn builder(&self) -> RegistryClientBuilder {
        let authority = self.authority.clone().unwrap_or_default();
        RegistryClient::builder(self.name())
            .insecure(self.guard != Guard::Tls)
            .ca_certificates(authority)
            .timeout(Duration::from_secs(30))
    }

    /// An entry of a Docker configuration for this registry.
    pub(crate) fn login(&self, entry: &serde_json::Value) -> Credentials {
        let config = serde_json::json!({ "auths": { self.name(): entry } }).to_string();
        Credentials::from_docker_config_json(config.as_bytes(), ORIGIN).expect("valid")
    }
}

/// A client with all credentials of a registry without TLS that it believes to be at `address`.
pub(crate) fn client_at(address: SocketAddr) -> RegistryClient {
    let name = address.to_string();
    let credentials = credentials(&name);
    let builder = RegistryClient::builder(name).insecure(true).timeout(Duration::from_secs(30));
    builder.credentials(credentials).build().expect("valid")
}

/// Nobody may delete, as in the cluster, and lists come in short pages.
fn configuration(storage: &str, extra: &str) -> String {
    format!(
        "version: 0.1\n\
         log: {{ level: info, accesslog: {{ disabled: true }} }}\n\
         storage:\n  \
           filesystem: {{ rootdirectory: \"{storage}\" }}\n\
         catalog: {{ maxentries: 3 }}\n\
         tags: {{ maxtags: 3 }}\n\
         http:\n  \
           addr: \"127.0.0.1:0\"\n\
         {extra}"
    )
}
