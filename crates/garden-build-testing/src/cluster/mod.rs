//! A namespace of its own for each test, in a real cluster.
//!
//! [`TestNamespace::create`] makes one, and it is deleted when the value is dropped, also when the test panics:
//!
//! ```no_run
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! use garden_build_testing::cluster::TestNamespace;
//! use garden_build::kube::Config;
//!
//! // The cluster that KUBECONFIG names, or the one that the test runs in.
//! let namespace = TestNamespace::create(Config::infer().await?, "shop").await?;
//! // Such as `shop-394857602`.
//! println!("{}", namespace.name());
//! let client = namespace.client();
//! // … build in it …
//! namespace.remove().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What stays
//!
//! Set `GARDEN_BUILD_TESTING_KEEP=failed` to keep the namespace of a test that panics, or `GARDEN_BUILD_TESTING_KEEP=all` to keep that of every
//! test, and look at what is in it; [`NamespaceOptions::keep`] says the same in code. A namespace that is kept is named on the
//! standard error stream. Delete it when you need it no more: nothing else does.
//!
//! A test that is killed cannot delete its namespace. Each [`create`](TestNamespace::create) therefore deletes those that are older than
//! two hours ([`NamespaceOptions::left_over_after`]). It knows them by the label [`LABEL`], which only those have that are to be deleted.
//!
//! # Rights
//!
//! A test needs the rights to `create`, `delete`, `list` and `patch` namespaces.

mod namespace;
mod options;

pub use namespace::{LABEL, TestNamespace};
pub use options::{Keep, NamespaceError, NamespaceOptions};
