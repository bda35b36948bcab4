//! An API server that does not answer any more, with connections that stay open: each verb says so, and ends when it is told to.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::time::Duration;

use garden_build::config::{BuildMode, ClusterBuildkitOptions, KanikoOptions, ProviderConfig, SecretRef};
use garden_build::registry::Platforms;
use garden_build::{
    BuildRequest, Builder, CleanUpOptions, ErrorKind, Event, Operation, PublishRequest, WarningCode,
};
use garden_build_testing::kubernetes::{FakeCluster, Fault};
use tempfile::TempDir;
use tokio::time::Instant;

/// How soon it is said. This is promised.
const TOLD: Duration = Duration::from_secs(15);

/// How soon a cancellation ends it. This is promised.
const CANCELLED: Duration = Duration::from_secs(5);

/// A builder that pushes to the registry in the cluster, and reads a Secret.
fn builder(mode: BuildMode) -> Builder {
    let fake = FakeCluster::new();
    fake.fault(Fault::silent("*", "*").always());
    let mut provider = ProviderConfig::kubernetes("demo");
    provider.build_mode = mode;
    provider.image_pull_secrets = vec![SecretRef::new("pull")];
    Builder::options(provider).client(fake.client()).connect().unwrap()
}

fn modes() -> [BuildMode; 2] {
    let buildkit = ClusterBuildkitOptions::default();
    [BuildMode::Kaniko(KanikoOptions::default()), BuildMode::ClusterBuildkit(buildkit)]
}

/// Waits until an operation says that the API server is silent, and cancels it. Returns how it ends.
async fn told_and_cancelled<T: Clone + std::fmt::Debug>(mut operation: Operation<T>, verb: &str) -> String {
    let since = Instant::now();
    loop {
        let event = operation.next_event().await.unwrap_or_else(|| panic!("{verb} ends without a word"));
        if matches!(event, Event::Warning { code: WarningCode::ClusterSilent, .. }) {
            break;
        }
    }
    assert!(since.elapsed() <= TOLD, "{verb}: {:?}", since.elapsed());
    assert!(!operation.is_finished(), "{verb} goes on");
    let since = Instant::now();
    let error = operation.cancel().await.unwrap_err();
    assert!(since.elapsed() <= CANCELLED, "{verb}: {:?}", since.elapsed());
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{verb}: {error}");
    format!("{error:?}")
}

#[tokio::test(start_paused = true)]
async fn each_verb_says_it_and_can_be_cancelled() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    let request = || BuildRequest::new("api", directory.path());
    let image = || "127.0.0.1:5000/demo-default/api:v-1".parse().unwrap();
    for mode in modes() {
        let builder = builder(mode);
        told_and_cancelled(builder.build(request()), "build").await;
        told_and_cancelled(builder.status(request()), "status").await;
        let publishing = PublishRequest::of_reference(image(), "registry.example/api:1".parse().unwrap());
        told_and_cancelled(builder.publish(publishing), "publish").await;
        let saving = builder.save(&image(), Platforms::All, directory.path().join("api.tar"));
        told_and_cancelled(saving, "save").await;

        // What may be left half-done is said.
        let error = told_and_cancelled(builder.init(), "init").await;
        assert!(error.contains("what is installed already stays"), "{error}");
        let error = told_and_cancelled(builder.sweep(), "sweep").await;
        assert!(error.contains("is left for the next one"), "{error}");
        let error = told_and_cancelled(builder.ensure_pull_secrets("apps"), "ensure_pull_secrets").await;
        assert!(error.contains("what is copied already stays"), "{error}");
        let cleaning = builder.clean_up_registry(CleanUpOptions::new());
        let error = told_and_cancelled(cleaning, "clean_up_registry").await;
        assert!(error.contains("the next clean-up does the rest"), "{error}");
        told_and_cancelled(builder.plan_clean_up(CleanUpOptions::new()), "plan_clean_up").await;
    }
}
