//! Promised: the registry client of garden-build, and the credentials it shares with the builders.
//!
//! * [`RegistryClient::resolve`] answers whether an image exists and which digest its tag stands
//!   for, over plain HTTP or TLS, anonymously or with basic or token authentication.
//! * [`Credentials`] are read from Kubernetes registry secrets or from Docker's own configuration, merged,
//!   looked up for a repository, and rendered as the `config.json` of a builder. Where they name credential
//!   helpers, [`CredentialHelpers`] runs them.
//! * [`Manifest`] is what a registry knows about an image: its blobs, or the images of an index.
//! * [`clean_up`] decides which images a registry can do without.
//! * [`Dial`] opens the connections, so that a registry that only the cluster can reach is reached
//!   through whatever leads there.
//!
//! A credential goes nowhere but to its registry and to the token server that this registry names,
//! never over plain HTTP unless the registry itself was declared to speak it, and never into a
//! message: see [`RegistryError`].
#![cfg_attr(docsrs, feature(doc_cfg))]

mod allowed_helpers;
mod answer;
mod archive;
mod authenticate;
mod builder_words;
mod cause;
mod challenge;
pub mod clean_up;
mod client;
pub mod clouds;
mod connect;
mod copy;
mod credential_helper;
mod credentials;
mod docker_cli;
mod docker_config;
mod endpoint;
mod entries;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod helper_answer;
mod helper_cache;
mod helper_question;
mod image_config;
mod key;
mod login;
mod lookup;
mod manifest;
mod media_type;
mod origin;
mod place;
mod remedies;
mod report;
mod server;
mod server_message;
mod tls;
mod tls_problem;
mod token;
mod transport;

pub use allowed_helpers::AllowedHelpers;
pub use archive::{Platforms, SaveError, Saved, save};
pub use builder_words::{ToldRefusal, told_refusal};
pub use client::{
    AccessToken, BlobSource, BlobStream, RegistryClient, RegistryClientBuilder, RemoteBlob, Resolution, Sent,
    Uploaded, repository_of,
};
pub use connect::{Dial, TcpDialer, Transport};
pub use copy::{Copied, CopyError, CopyEvent, Location, copy};
pub use credential_helper::CredentialHelpers;
pub use credentials::Credentials;
pub use docker_config::CredentialsError;
pub use error::{Identity, Refusal, RegistryError};
pub use garden_network::{InvalidProxy, Proxies};
pub use helper_answer::{HelperName, HelperOutput, HelperProblem};
pub use helper_cache::{HelperCache, RunHelper};
pub use helper_question::HelperQuestion;
pub use image_config::ImageConfig;
pub use login::Login;
pub use lookup::{CredentialsWarning, Found};
pub use manifest::{Descriptor, Manifest, ManifestKind, Platform};
pub use place::Place;
pub use remedies::Remedies;
pub use server::Server;
pub use tls_problem::{ClientCertificate, TlsProblem, TlsSide, is_complaint_about_tls};
