//! Whole builds by cluster-buildkit, as the harness of a program tests them: with a cluster, a BuildKit daemon and a registry in this process.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use garden_build::{ErrorKind, Event, Outcome, WarningCode};
use garden_build_testing::Gate;
use garden_build_testing::buildkit::{BuildFailure, BuildState, Built, FakeBuild};

mod site;

use site::{Site, push};

#[tokio::test]
async fn an_image_is_built_from_what_the_daemon_is_sent_and_then_it_exists() {
    let site = Site::new().await;
    let built = site.builder.build(site.request().build_arg("A", "1")).await.unwrap();
    assert!(matches!(built.outcome, Outcome::Built { .. }), "{built:?}");
    let record = &site.daemon.builds()[0];
    assert_eq!(record.text("context", "main.c"), Some("int main;"));
    assert_eq!(record.image_names(), [built.reference.to_string()]);
    assert_eq!(record.build_arg("A"), Some("1"));
    let again = site.builder.build(site.request().build_arg("A", "1")).await.unwrap();
    assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, built.digest));
    assert_eq!(site.daemon.builds().len(), 1);
    assert_eq!(site.cluster.names("deployments"), ["garden-buildkit"]);
}

#[tokio::test]
async fn a_step_that_fails_is_told_with_its_exit_code() {
    let site = Site::new().await;
    site.daemon.on_build(async |build: FakeBuild| {
        let step = build.step("[2/2] RUN make");
        step.log("no rule to make target");
        Err(step.exit("/bin/sh -c make", 2))
    });
    let error = site.builder.build(site.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BuildFailed);
    assert_eq!(error.failed_step().unwrap().exit_code, Some(2));
}

#[tokio::test]
async fn a_login_of_the_project_is_given_to_the_daemon_and_a_refused_push_is_told() {
    let site = Site::with_login("robot", "s3cret").await;
    site.daemon.on_build(|build: FakeBuild| async move {
        let name = build.record().image_names()[0].to_owned();
        let host = name.split('/').next().unwrap_or_default();
        let login = build.login(host).await?.unwrap();
        assert_eq!((login.username.as_str(), login.secret.as_str()), ("robot", "s3cret"));
        let message = format!("failed to push {name}: unexpected status from POST request to http://{host}/v2/api/blobs/uploads/: 401 Unauthorized");
        Err(BuildFailure::new(message))
    });
    let error = site.builder.build(site.request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
}

#[tokio::test]
async fn a_build_whose_daemon_is_lost_is_begun_again_on_another_one() {
    let site = Site::new().await;
    let (cluster, registry) = (site.cluster.clone(), site.registry.clone());
    site.daemon.on_build(move |build: FakeBuild| {
        let (cluster, registry) = (cluster.clone(), registry.clone());
        async move {
            if build.number() == 0 {
                cluster.pod("shop-default", &cluster.names("pods")[0]).unwrap().vanish();
                build.lose_connection().await;
            }
            build.run().await?;
            Ok(push(&registry, &build))
        }
    });
    site.builder.build(site.request()).await.unwrap();
    let states: Vec<_> = site.daemon.builds().iter().map(|build| build.state).collect();
    assert_eq!(states, [BuildState::Cancelled, BuildState::Succeeded]);
    assert_eq!(site.cluster.created("pods").len(), 2);
}

#[tokio::test]
async fn a_build_that_is_cancelled_ends_in_the_daemon_as_well() {
    let (site, gate) = (Site::new().await, Gate::new());
    let kept = gate.clone();
    site.daemon.on_build(move |_| {
        let gate = kept.clone();
        async move {
            gate.pass().await;
            Ok(Built::nothing())
        }
    });
    let build = site.builder.build(site.request());
    gate.arrived().await;
    assert_eq!(build.cancel().await.unwrap_err().kind(), ErrorKind::Cancelled);
    site.daemon.until(|| (site.daemon.builds()[0].state == BuildState::Cancelled).then_some(())).await;
}

#[tokio::test]
async fn who_builds_the_same_image_elsewhere_at_the_same_time_is_told_of() {
    let site = Site::new().await;
    let planned = site.builder.status(site.request()).await.unwrap().reference.to_string();
    site.daemon.add_other_build([planned]);
    let mut build = site.builder.build(site.request());
    let mut codes = Vec::new();
    while let Some(event) = build.next_event().await {
        codes.extend(match event {
            Event::Warning { code, .. } => Some(code),
            _ => None,
        });
    }
    build.await.unwrap();
    assert!(codes.contains(&WarningCode::AnotherBuildRuns), "{codes:?}");
}
