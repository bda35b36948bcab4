//! Reads a Garden project file: which `kubernetes` provider an environment has, and how it builds.
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
//!   help: did you mean `buildMode`?
//! ```
//!
//! Everything that a file can say can also be set in Rust; see [`ProviderConfig`].
//!
//! # From text to values
//! The text becomes a tree in which each key and value knows where it stands; the parts of it that
//! an environment needs are then read field by field into typed values, and the rules that go beyond
//! one field are checked on those values, so that they hold for values that were made in Rust too.
//! Fields that concern deploying are accepted and set aside; unknown ones are problems.

mod cache;
mod cluster_buildkit;
mod decode;
mod ellipsis;
mod environment;
mod kaniko;
mod names;
mod node;
mod problem;
mod project;
mod provider;
mod registry;
mod resources;
mod storage;
mod suggest;
#[cfg_attr(not(test), expect(dead_code, reason = "the project file does not resolve templates yet"))]
mod template;
mod toleration;
mod yaml;

pub use cache::{CacheLayer, CacheMode};
pub use cluster_buildkit::ClusterBuildkitOptions;
pub use kaniko::{KanikoNamespace, KanikoOptions};
pub use names::{Namespace, SecretRef};
pub use problem::{ConfigError, Notice, Position, Problem};
pub use project::{Project, load, parse};
pub use provider::{BuildMode, ProviderConfig, ProviderKind};
pub use registry::DeploymentRegistry;
pub use resources::{ResourceAmounts, Resources};
pub use storage::PersistentStorage;
pub use toleration::{TaintEffect, Toleration, TolerationOperator};
