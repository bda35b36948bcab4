//! A Kubernetes API server without a cluster.
//!
//! [`FakeCluster`] stores objects as the API server does, and nothing else happens by itself: no scheduler, no
//! kubelet, and no controllers except [those of Deployments](FakeCluster::run_deployments), if a test wants them.
//! What becomes of a pod, a test says:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
//! use garden_build_testing::kubernetes::FakeCluster;
//! use k8s_openapi::api::core::v1::Pod;
//! use kube::Api;
//! use kube::api::PostParams;
//! use serde_json::json;
//!
//! let cluster = FakeCluster::new();
//! cluster.on_pod(|pod| async move {
//!     pod.run();
//!     pod.say("main", "done");
//!     pod.exit("main", 0, "");
//! });
//! let pods: Api<Pod> = Api::namespaced(cluster.client(), "default");
//! let pod = json!({ "metadata": { "name": "a" }, "spec": { "restartPolicy": "Never", "containers": [{ "name": "main" }] } });
//! pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
//! cluster.until(|| cluster.object("pods", "default", "a")?["status"]["phase"].as_str().filter(|it| *it == "Succeeded").map(drop)).await;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Fault`] changes how a request is answered: refused, answered late, carried out without an answer. Watches,
//! logs and streams can be cut. [`FakeCluster::requests`] tells what was asked.
//!
//! It differs from a real one in this: an apply replaces lists as a whole, no defaults are filled in, nothing of an
//! object is validated but what callers are known to rely on, and there are no finalizers except those of a
//! deletion in the foreground.
//!
//! * The ground: `kind` (which resources there are), `path`, `selector`, `refusal`.
//! * `store` has the objects: `write` changes them, `remove` deletes, with what they own.
//! * `server` takes requests apart; `read`, `watch`, `log` and `remote` answer the long ones.
//! * `deployments` is the controllers' part.
//! * For tests: `cluster`, `pod`, `fault`, `request`, `program`.
//!
//! Why: docs/decisions/79-tests-have-an-api-server-in-memory.md

mod clock;
mod cluster;
mod connection;
mod deployments;
mod fault;
mod kind;
mod log;
mod path;
mod pod;
mod program;
mod read;
mod refusal;
mod remote;
mod request;
mod selector;
mod server;
mod store;
mod watch;

pub use crate::gate::Gate;
pub use cluster::FakeCluster;
pub use fault::Fault;
pub use pod::FakePod;
pub use program::{Connection, End, Process};
pub use refusal::Refusal;
pub use request::Request;
