//! A `BuildKit` daemon without a daemon.
//!
//! [`FakeBuildkit`] speaks the protocol of `buildkitd`: it takes builds (`Solve`), reports on them (`Status`), and calls
//! the client back through its session, for files, logins, secrets and SSH agents. It runs nothing. What becomes of a
//! build, a test says, and the daemon records what it was sent:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use std::sync::Arc;
//!
//! use garden_build_testing::buildkit::{Built, FakeBuild, FakeBuildkit};
//! use garden_buildkit::client::file_sync::MemoryFiles;
//! use garden_buildkit::client::{CONTEXT, Client, DockerfileBuild, Session, Source};
//!
//! let daemon = FakeBuildkit::new();
//! daemon.on_build(async |build: FakeBuild| {
//!     let context = build.directory("context").await?;
//!     let step = build.step("[1/1] COPY . /app");
//!     step.log("copying");
//!     step.complete();
//!     Ok(Built::image(format!("sha256:{:064x}", context.paths().count())))
//! });
//!
//! let mut session = Session::default();
//! let files: Arc<dyn Source> = Arc::new(MemoryFiles::new([("main.c", "int main;")]));
//! session.directories = [(CONTEXT.to_owned(), files)].into();
//! let client = Client::connect(daemon.connect()).await?;
//! let solved = client.build(DockerfileBuild::default(), session, |update| println!("{update:?}")).await?;
//!
//! assert_eq!(solved.image.map(|image| image.digest), Some(format!("sha256:{:064x}", 1)));
//! assert_eq!(daemon.builds()[0].text("context", "main.c"), Some("int main;"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Without [`on_build`](FakeBuildkit::on_build), each build does what [`FakeBuild::run`] does, and succeeds.
//!
//! # With the mode cluster-buildkit
//!
//! A builder of this mode reaches its daemon by a command in the daemon's pod. [`FakeBuildkit::run_in`] makes the daemon
//! answer in the pods of a [`FakeCluster`](crate::kubernetes::FakeCluster), so the builder needs that cluster's client, and nothing else:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use garden_build_testing::buildkit::FakeBuildkit;
//! use garden_build_testing::kubernetes::FakeCluster;
//!
//! let (cluster, daemon) = (FakeCluster::new(), FakeBuildkit::new());
//! daemon.run_in(&cluster);
//! // Builder::options(provider).client(cluster.client()).connect()?
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```
//!
//! # What can happen to a build
//!
//! * It fails: the script returns a [`BuildFailure`], such as that of [`FakeStep::exit`].
//! * It lasts: the script waits at a [`Gate`](crate::Gate). Whether the client cancels meanwhile, [`BuildRecord::state`] says.
//! * Its connection breaks: [`FakeBuild::lose_connection`], or [`FakeBuildkit::cut_connections`] from outside. In a cluster, the daemon's pod lives on
//!   then; [`FakePod::vanish`](crate::kubernetes::FakePod::vanish) ends both.
//!
//! # What differs from a real daemon
//!
//! It keeps no copy of a directory, so it asks for all files each time. It fetches tokens without proof that the client
//! has the key that it shows. It does not speak TLS. Paths have to be UTF-8. The calls `DiskUsage`, `Prune`, `ListWorkers` and
//! `UpdateBuildHistory` are not served.
//!
//! * `daemon` is what a test has, `control` the service that a client calls, and `session` the connection back to it.
//! * `build` is what a script can do with a build: `files`, `logins`, `step`.
//! * `outcome` is how a build ends, and `record` what the daemon remembers.

mod build;
mod control;
mod daemon;
mod files;
mod logins;
mod outcome;
mod record;
mod session;
mod step;

pub use build::FakeBuild;
pub use daemon::FakeBuildkit;
pub use files::{Directory, FileEntry, FileFilter, FileKind};
pub use logins::Login;
pub use outcome::{BuildFailure, Built};
pub use record::{BuildRecord, BuildState, CacheOption, Call, Export, LoginRecord, TokenRecord};
pub use step::FakeStep;
