//! Promised: reads Garden project files: which `kubernetes` provider an environment has, how it builds, and what.
//!
//! ```
//! use garden_config::{BuildMode, KanikoNamespace};
//!
//! let project = garden_config::parse(
//!     "
//! kind: Project
//! name: my-project
//! providers:
//!   - name: kubernetes
//!     buildMode: kaniko
//!     kaniko:
//!       namespace: null
//!     deploymentRegistry:
//!       hostname: my-private-registry.com
//!       namespace: my-project
//! ",
//!     "project.garden.yml",
//! )?;
//! let provider = project.provider("dev")?;
//! assert_eq!(provider.namespace.name, "my-project-default");
//! let BuildMode::Kaniko(kaniko) = provider.build_mode else { panic!("kaniko") };
//! assert_eq!(kaniko.namespace, KanikoNamespace::Project);
//! # Ok::<(), garden_config::ConfigError>(())
//! ```
//!
//! A [`ConfigError`] names all that is wrong, each with file, line and column, and with the field
//! that was probably meant:
//!
//! ```text
//! project.garden.yml:7:5: `buildmode` is not a field of a kubernetes provider
//!   7 |     buildmode: kaniko
//!     |     ^^^^^^^^^
//!   help: did you mean `buildMode`?
//! ```
//!
//! A file is more than a provider: [`Project::environment`] selects an [`Environment`], which tells what the
//! templates in it stand for, and has the provider and the modules and actions that are built:
//!
//! ```no_run
//! let project = garden_config::load("path/to/project")?;
//! let environment = project.environment("preview")?;
//! let (provider, build) = (environment.provider()?, environment.build("api")?);
//! println!("{} is built by {}", build.image_name(), provider.build_mode.as_str());
//! # Ok::<(), garden_config::ConfigError>(())
//! ```
//!
//! Everything that a file can say can also be set in Rust, with the same defaults and rules; see
//! [`ProviderConfig`] and [`BuildConfig`].
//!
//! # From text to values
//! The text becomes a tree in which each key and value knows where it stands; the parts of it that
//! an environment needs have their templates resolved, and are then read field by field into typed values. The rules
//! that go beyond one field are checked on those values, so that they hold for values that were made in Rust too.
//! Fields that concern deploying are accepted and set aside; unknown ones are problems.
//!
//! # What is read and run
//! A project file may come with any repository, so here is all that it can have this program do:
//!
//! | | reads | runs |
//! |---|---|---|
//! | [`load`], [`parse`] | the project file, and, to find it in a directory, the others there called `garden.yml` or `….garden.yml` (`parse`: nothing) | nothing |
//! | [`Project::environment`] | files of variables, wherever `varfile` and `importVariables` lead; with [`Locals::of_this_machine`] the environment variables, the user's name, and branch, commit and origin of the git repository, wherever its `.git` leads | nothing |
//! | [`Environment::provider`] | `caCertificate`, wherever it leads | nothing |
//! | [`Environment::build`], [`Environment::builds`] | files of modules and actions beneath the project's directory, of links only relative ones that stay in it, and the files of variables that they name | nothing |
//! | planning and building | the build context: the module's directory, or wherever `source.path` leads; no link leads out of that | with local-docker, `ssh` if `DOCKER_HOST` or Docker's own context says so; credential helpers |
//! | connecting to the cluster | `kubeconfig`, and the files that it names | the credential plugin that the kubeconfig names, with any arguments |
//!
//! Only ordinary files of a bounded size are read. Whoever only wants to look at a project says [`Project::confined`]:
//! then no path leads out of its directory, templates learn nothing of this machine, and connecting runs nothing. What
//! `DOCKER_HOST` and the user's own Docker configuration name is the user's choice, and stays.
//!
//! # Features
//! * `files`, on by default: project files. Without it there are [`ProviderConfig`] and [`BuildConfig`], with all that belongs to them.
//! * `schema`: `schema`, the JSON Schema of the files.
//! * `miette`: `ConfigReport`, errors as `miette` shows them.

// Each option reads its own field. Without project files, nobody asks them to.
#![cfg_attr(not(feature = "files"), allow(dead_code, reason = "the readers of fields"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod build;
mod document;
#[cfg(all(feature = "files", feature = "miette", any(test, fuzzing)))]
#[doc(hidden)]
pub mod fuzzing;
mod generation;
mod javascript;
#[cfg(feature = "files")]
mod keys;
#[cfg(feature = "files")]
mod project;
mod provider;
#[cfg(feature = "miette")]
mod render;
#[cfg(feature = "schema")]
mod schema;
#[cfg(feature = "files")]
mod template;

pub use build::BuildConfig;
pub use document::problem::{ConfigError, Notice, NoticeKind, Position, Problem};
pub use document::snippet::Snippet;
pub use garden_build_core::ProxyUrl;
#[cfg(feature = "files")]
pub use keys::git::GitState;
#[cfg(feature = "files")]
pub use keys::locals::{Git, Locals};
#[cfg(feature = "files")]
pub use project::environment::Environment;
#[cfg(feature = "files")]
pub use project::{Project, load, parse};
pub use provider::build_mode::BuildMode;
pub use provider::cache::{CacheLayer, CacheMode, RegistryCache};
pub use provider::cluster_buildkit::ClusterBuildkitOptions;
pub use provider::cluster_docker::ClusterDockerOptions;
pub use provider::idle_after::IdleAfter;
pub use provider::in_cluster_registry::InClusterRegistryOptions;
pub use provider::kaniko::{ContextDelivery, KanikoNamespace, KanikoOptions, KanikoUtil};
pub use provider::names::{Namespace, SecretRef};
pub use provider::proxies::ProxyOptions;
pub use provider::registry::DeploymentRegistry;
pub use provider::resources::{ProviderResources, ResourceAmounts, Resources};
pub use provider::storage::{PersistentStorage, ProviderStorage};
pub use provider::telemetry::TelemetryOptions;
pub use provider::toleration::{TaintEffect, Toleration, TolerationOperator};
pub use provider::{ProviderConfig, ProviderKind};
#[cfg(feature = "miette")]
pub use render::{ConfigReport, ProblemReport};
#[cfg(feature = "schema")]
pub use schema::schema;
