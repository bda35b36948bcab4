use std::process::Stdio;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;

use crate::site::own_process::in_own_process;
use crate::site::{PATIENCE, Project, in_project, running};

/// A project whose build takes for ever and has a secret.
async fn endless(project: &mut Project) {
    project.dockerfile("RUN sleep 600\n");
    project.create_registry_secret("pull", "registry.example", "user", "password").await;
    use_pull_secret(project);
}

fn use_pull_secret(project: &mut Project) {
    let secret = garden_build::config::SecretRef::new("pull").in_namespace(&project.namespace);
    project.provider.image_pull_secrets.push(secret);
}

#[tokio::test]
async fn dropping_leaves_no_pod_and_no_secret() {
    in_project("drop", async |project| {
        endless(project).await;
        let build = project.builder().build(project.request());
        project.builder_pod(running).await;
        drop(build);
        project.assert_nothing_left().await;
    })
    .await;
}

#[tokio::test]
async fn dropping_while_objects_are_being_created_leaves_nothing() {
    in_project("drop-early", async |project| {
        endless(project).await;
        for delay in [0, 5, 10, 20, 40, 80] {
            let build = project.builder().build(project.request());
            tokio::time::sleep(Duration::from_millis(delay)).await;
            drop(build);
        }
        // Nothing may appear late either.
        tokio::time::sleep(Duration::from_secs(3)).await;
        project.assert_nothing_left().await;
    })
    .await;
}

#[tokio::test]
async fn a_detached_build_runs_to_its_end() {
    in_project("detach", async |project| {
        project.dockerfile("RUN sleep 2\n");
        project.builder().build(project.request()).detach();
        let started = Instant::now();
        while project.builder().status(project.request()).await.unwrap().existing.is_none() {
            assert!(started.elapsed() < PATIENCE, "the image never appeared");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        project.assert_nothing_left().await;
    })
    .await;
}

/// In the process that is going to be killed, names the namespace to build in.
const VICTIM: &str = "GARDEN_TEST_VICTIM_NAMESPACE";

#[tokio::test]
async fn a_sweep_removes_what_a_killed_client_left_and_nothing_of_a_living_one() {
    if let Ok(namespace) = std::env::var(VICTIM) {
        return build_until_killed(namespace).await;
    }
    in_project("killed", async |project| {
        endless(project).await;
        let mut victim =
            in_own_process!(a_sweep_removes_what_a_killed_client_left_and_nothing_of_a_living_one)
                .env(VICTIM, &project.namespace)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
        let orphan = project.builder_pod(running).await.metadata.name.unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();

        // A second client builds meanwhile, for longer than a lease lasts.
        let builder = project.builder();
        let living = builder.build(project.request().build_arg("OTHER", "build"));
        let another = |pod: &Pod| pod.metadata.name.as_deref() != Some(&orphan) && running(pod);
        let survivor = project.builder_pod(another).await.metadata.name.unwrap();

        let started = Instant::now();
        let removed = loop {
            let removed = builder.sweep().await.unwrap().removed;
            if !removed.is_empty() {
                break removed;
            }
            assert!(started.elapsed() < Duration::from_secs(120), "never swept");
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        assert!(removed.iter().any(|name| name.contains(&orphan)), "{removed:?}");
        // Its Secret goes with it.
        let secret = orphan.rsplit('-').next().map(|build| format!("garden-docker-auth-{build}")).unwrap();
        let started = Instant::now();
        while project.secrets().get_opt(&secret).await.unwrap().is_some() {
            assert!(started.elapsed() < PATIENCE, "the Secret stays");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!(!removed.iter().any(|name| name.contains(&survivor)), "{removed:?}");

        // The first lease of the living build would have ended by now, had it not been renewed.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(builder.sweep().await.unwrap().removed.is_empty());
        assert!(project.pods().get(&survivor).await.is_ok());
        drop(living);
        project.assert_nothing_left().await;
    })
    .await;
}

async fn build_until_killed(namespace: String) {
    let mut project = Project::in_namespace(namespace).await;
    project.dockerfile("RUN sleep 600\n");
    use_pull_secret(&mut project);
    project.builder().build(project.request()).await.expect_err("killed before it ends");
}
