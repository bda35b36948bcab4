use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use garden_build::{Build, Builder, BuiltImage, ErrorKind, Event, Outcome};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::site::proxy::client_cut_after;
use crate::site::{
    Project, WITHIN_SECONDS, build_with_events, client_with_the_documented_role, follow, follow_until, gone,
    in_project, registry, running, shown, variable, warnings,
};

fn deployments(project: &Project) -> Api<Deployment> {
    Api::namespaced(project.client.clone(), &project.namespace)
}

async fn daemon_pods(project: &Project) -> Vec<Pod> {
    project.pods().list(&ListParams::default().labels("app=garden-buildkit")).await.unwrap().items
}

/// Follows a build to its end; the events before are only for the message of a failure.
async fn finish(mut build: Build, mut events: Vec<Event>) -> (BuiltImage, Vec<Event>) {
    events.extend(follow(&mut build).await);
    let image = build.await.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    (image, events)
}

#[tokio::test]
async fn clients_that_start_at_once_in_a_fresh_namespace_share_one_daemon() {
    in_project("bk-together", async |project| {
        project.buildkit();
        project.dockerfile("ARG CLIENT\nRUN echo $CLIENT > /client\n");
        let (one, other) = (project.builder(), project.builder());
        let (one, other) = tokio::join!(
            one.build(project.request().build_arg("CLIENT", "one")),
            other.build(project.request().build_arg("CLIENT", "other")),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_ne!(one.digest, other.digest);
        registry::assert_has(&one).await;
        registry::assert_has(&other).await;
        let replica_sets: Api<ReplicaSet> = Api::namespaced(project.client.clone(), &project.namespace);
        let all = ListParams::default();
        assert_eq!(deployments(project).list(&all).await.unwrap().items.len(), 1);
        assert_eq!(replica_sets.list(&all).await.unwrap().items.len(), 1);
        assert_eq!(daemon_pods(project).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn twenty_builds_at_once_make_twenty_images() {
    in_project("bk-twenty", async |project| {
        project.buildkit();
        project
            .dockerfile("ARG NUMBER\nRUN echo number $NUMBER > /number\nCOPY app.txt /\nCMD cat /number\n");
        project.file("app.txt", "x");
        let builder = project.builder();
        let request = |number: u32| project.request().build_arg("NUMBER", number.to_string());
        let builds = (1..=20).map(|number| builder.build(request(number)));
        let images: Vec<BuiltImage> =
            futures::future::join_all(builds).await.into_iter().map(Result::unwrap).collect();
        for image in &images {
            registry::assert_has(image).await;
        }
        let digests: BTreeSet<String> = images.iter().map(|image| image.digest.to_string()).collect();
        assert_eq!(digests.len(), 20);
        let thirteenth = images[12].reference.at(images[12].digest);
        assert_eq!(project.run(&thirteenth, &[], None).await, "number 13\n");
        assert_eq!(daemon_pods(project).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_daemon_is_killed_begins_again_on_the_next() {
    in_project("bk-killed-pod", async |project| {
        project.buildkit();
        project.dockerfile("RUN echo begun; sleep 4\n");
        let mut build = project.builder().build(project.request());
        let events = follow_until(&mut build, "   begun").await;
        let pod = project.builder_pod(running).await.name_any();
        project.pods().delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        let killed = Instant::now();
        let (image, events) = finish(build, events).await;
        let took = killed.elapsed();
        eprintln!("took {took:?}: {:?}", warnings(&events));
        assert!(took < WITHIN_SECONDS, "took {took:?}\n{}", shown(&events));
        let warnings = warnings(&events);
        assert!(
            matches!(warnings[..], [one] if one.contains("try 2 of 3") && one.contains(&pod)),
            "{warnings:?}"
        );
        registry::assert_has(&image).await;
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_daemon_s_process_dies_begins_again_on_the_next() {
    in_project("bk-killed-process", async |project| {
        project.buildkit();
        // Longer than a busy machine takes to start the pod that kills the daemon.
        project.dockerfile("RUN echo begun; sleep 20\n");
        let mut build = project.builder().build(project.request());
        let events = follow_until(&mut build, "   begun").await;
        let pod = project.builder_pod(running).await.name_any();
        // From the node, as the kernel would: nobody in the pod can kill its first process.
        let script = format!(
            "for p in /proc/[0-9]*; do if grep -qs {pod} $p/root/etc/hostname && grep -qs ^buildkitd $p/comm; \
             then kill -9 ${{p#/proc/}}; fi; done"
        );
        project.on_the_node(&script).await;
        let killed = Instant::now();
        let (_, events) = finish(build, events).await;
        let took = killed.elapsed();
        eprintln!("took {took:?}: {:?}", warnings(&events));
        assert!(took < WITHIN_SECONDS, "took {took:?}\n{}", shown(&events));
        let warnings = warnings(&events);
        assert!(matches!(warnings[..], [one] if one.contains("try 2 of 3") && one.contains("137")), "{warnings:?}");
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_daemon_is_told_to_stop_finishes_there() {
    in_project("bk-drained", async |project| {
        project.buildkit();
        project.dockerfile("RUN echo begun; sleep 5; echo ended\n");
        let mut build = project.builder().build(project.request());
        let mut events = follow_until(&mut build, "   begun").await;
        let pod = project.builder_pod(running).await.name_any();
        project.pods().delete(&pod, &DeleteParams::default()).await.unwrap();
        events.extend(follow_until(&mut build, "   ended").await);
        let draining = project.pods().get(&pod).await.unwrap();
        assert!(draining.metadata.deletion_timestamp.is_some() && running(&draining), "{draining:?}");
        let (image, events) = finish(build, events).await;
        assert_eq!(warnings(&events), Vec::<&str>::new());
        registry::assert_has(&image).await;
        // It does not wait for the end of its time.
        gone(project, &pod, WITHIN_SECONDS).await;

        let again = project.builder().build(project.request().build_arg("ANOTHER", "build")).await.unwrap();
        registry::assert_has(&again).await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_configuration_gets_a_daemon_of_its_own_and_builds_on_the_former_finish() {
    in_project("bk-reconfigured", async |project| {
        project.buildkit();
        project.dockerfile(
            "ARG CLIENT\nRUN echo begun $CLIENT\nRUN if [ $CLIENT = first ]; then sleep 12; fi\n",
        );
        let request = |client: &str| project.request().build_arg("CLIENT", client);
        let mut first = project.builder().build(request("first"));
        let first_events = follow_until(&mut first, "   begun first").await;
        let former = project.builder_pod(running).await.name_any();

        let mut changed = project.provider.clone();
        let garden_build::config::BuildMode::ClusterBuildkit(options) = &mut changed.build_mode else {
            unreachable!()
        };
        options.annotations.insert("example.com/changed".to_owned(), "yes".to_owned());
        let second = Builder::options(changed).client(project.client.clone()).connect().unwrap();
        let (image, events) = build_with_events(&second, request("second")).await;
        registry::assert_has(&image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)))).await;
        let warned = warnings(&events);
        assert!(matches!(warned[..], [one] if one.contains("was configured differently")), "{warned:?}");
        let still_there = project.pods().get(&former).await.unwrap();
        assert!(still_there.metadata.deletion_timestamp.is_some() && running(&still_there), "too late");
        let annotated =
            |pod: &Pod| pod.annotations().get("example.com/changed").is_some_and(|value| value == "yes");
        assert_ne!(project.builder_pod(annotated).await.name_any(), former);

        let (image, events) = finish(first, first_events).await;
        assert_eq!(warnings(&events), Vec::<&str>::new());
        registry::assert_has(&image).await;
        gone(project, &former, WITHIN_SECONDS).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again_and_so_is_the_build() {
    in_project("bk-cut", async |project| {
        project.buildkit();
        project.dockerfile("RUN echo begun; sleep 3\n");
        let proxied = client_cut_after(u64::MAX).await;
        let builder =
            Builder::options(project.provider.clone()).client(proxied.client.clone()).connect().unwrap();
        let mut build = builder.build(project.request());
        let events = follow_until(&mut build, "   begun").await;
        proxied.cut_all();
        let cut = Instant::now();
        let (image, events) = finish(build, events).await;
        let took = cut.elapsed();
        eprintln!("took {took:?}: {:?}", warnings(&events));
        assert!(took < WITHIN_SECONDS, "took {took:?}\n{}", shown(&events));
        let warnings = warnings(&events);
        assert!(matches!(warnings[..], [one] if one.contains("try 2 of 3")), "{warnings:?}");
        registry::assert_has(&image).await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_that_somebody_scaled_to_nothing_is_started_again() {
    in_project("bk-scaled", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        project.builder().build(project.request()).await.unwrap();
        let pod = project.builder_pod(running).await.name_any();
        let nothing = json!({ "spec": { "replicas": 0 } });
        let patch = Patch::Merge(&nothing);
        deployments(project).patch("garden-buildkit", &PatchParams::default(), &patch).await.unwrap();
        gone(project, &pod, Duration::from_secs(20)).await;

        let again = project.builder().build(project.request().build_arg("ANOTHER", "build")).await.unwrap();
        registry::assert_has(&again).await;
        assert_eq!(daemon_pods(project).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_deployment_of_somebody_else_with_the_daemon_s_name_is_not_touched() {
    in_project("bk-foreign", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        let theirs = json!({
            "metadata": { "name": "garden-buildkit" },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "app": "theirs" } },
                "template": {
                    "metadata": { "labels": { "app": "theirs" } },
                    "spec": { "containers": [{ "name": "main", "image": "registry.example/theirs" }] },
                },
            },
        });
        let theirs = serde_json::from_value(theirs).unwrap();
        let before = deployments(project).create(&PostParams::default(), &theirs).await.unwrap();
        let started = Instant::now();
        let error = project.builder().build(project.request()).await.expect_err("not ours");
        assert!(started.elapsed() < WITHIN_SECONDS, "took {:?}", started.elapsed());
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.message().contains("garden-buildkit"), "{error}");
        assert!(error.hint().is_some(), "{error:?}");
        let after = deployments(project).get("garden-buildkit").await.unwrap();
        assert_eq!(after.metadata.generation, before.metadata.generation);
        assert_eq!(after.metadata.labels, before.metadata.labels);
    })
    .await;
}

impl Project {
    /// Has the daemon use a volume.
    async fn use_storage(&mut self) {
        self.buildkit().storage = Some(self.make_volume().await);
    }

    /// Removes the daemon, and the volume that it uses.
    async fn remove_storage(&self) {
        deployments(self).delete("garden-buildkit", &DeleteParams::default()).await.unwrap();
        for pod in daemon_pods(self).await {
            gone(self, &pod.name_any(), Duration::from_secs(20)).await;
        }
        self.remove_volume().await;
    }
}

/// Builds twice, with another daemon each time, and expects the second to know the steps of the first.
async fn keeps_its_cache(project: &mut Project) {
    project.dockerfile("RUN echo one\nRUN echo two\n");
    let builder = project.builder();
    let (first, events) = build_with_events(&builder, project.request()).await;
    let first = first.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    assert!(
        matches!(first.outcome, Outcome::Built { steps_cached: 0, steps_run: 2, .. }),
        "{:?}",
        first.outcome
    );
    let pod = project.builder_pod(running).await.name_any();
    project.pods().delete(&pod, &DeleteParams::default()).await.unwrap();
    gone(project, &pod, Duration::from_secs(20)).await;

    let (second, events) = build_with_events(&builder, project.request().force(true)).await;
    let second = second.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    assert!(
        matches!(second.outcome, Outcome::Built { steps_cached: 2, steps_run: 0, .. }),
        "{:?}",
        second.outcome
    );
    assert_eq!(second.digest, first.digest);
    assert_ne!(project.builder_pod(running).await.name_any(), pod);
}

#[tokio::test]
async fn with_storage_the_cache_outlives_the_daemon() {
    in_project("bk-storage", async |project| {
        project.buildkit();
        project.use_storage().await;
        keeps_its_cache(project).await;
        project.remove_storage().await;
    })
    .await;
}

#[tokio::test]
async fn with_storage_a_daemon_that_nobody_used_is_stopped_and_back_with_its_cache() {
    in_project("bk-idle", async |project| {
        project.buildkit();
        project.use_storage().await;
        project.dockerfile("RUN echo one\nRUN echo two\n");
        let builder = project.builder();
        let first = builder.build(project.request()).await.unwrap();
        let former = project.builder_pod(running).await.name_any();
        assert!(!builder.sweep().await.unwrap().stopped.iter().any(|it| it.contains(&project.namespace)));

        project.unused_for_years("garden-buildkit").await;
        builder.sweep().await.unwrap();
        project.until_asleep("garden-buildkit").await;

        let (second, events) = build_with_events(&builder, project.request().force(true)).await;
        let second = second.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(
            matches!(second.outcome, Outcome::Built { steps_cached: 2, steps_run: 0, .. }),
            "{:?}",
            second.outcome
        );
        assert_eq!(second.digest, first.digest);
        assert_eq!(warnings(&events), Vec::<&str>::new());
        assert!(!shown(&events).contains("scaled to nothing"), "{}", shown(&events));
        assert!(project.is_used_again("garden-buildkit").await);
        assert_ne!(project.builder_pod(running).await.name_any(), former);
        project.remove_storage().await;
    })
    .await;
}

#[tokio::test]
async fn a_daemon_with_a_build_is_not_taken_for_unused() {
    in_project("bk-in-use", async |project| {
        project.buildkit();
        project.dockerfile("RUN true\n");
        let builder = project.builder();
        builder.build(project.request()).await.unwrap();
        project.unused_for_years("garden-buildkit").await;
        project.dockerfile("RUN echo begun; sleep 10; echo ended\n");
        let mut build = builder.build(project.request());
        let events = follow_until(&mut build, "   begun").await;
        builder.sweep().await.unwrap();
        let (image, events) = finish(build, events).await;
        registry::assert_has(&image).await;
        assert_eq!(warnings(&events), Vec::<&str>::new());
        assert_eq!(project.replicas("garden-buildkit").await, Some(1));
    })
    .await;
}

#[tokio::test]
async fn with_storage_a_rootless_daemon_s_cache_outlives_it_too() {
    in_project("bk-storage-rootless", async |project| {
        project.buildkit().image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        project.buildkit().rootless = true;
        project.use_storage().await;
        keeps_its_cache(project).await;
        project.remove_storage().await;
    })
    .await;
}

#[tokio::test]
async fn with_storage_a_build_waits_for_the_end_of_a_daemon_that_was_told_to_stop() {
    in_project("bk-storage-drain", async |project| {
        project.buildkit();
        project.use_storage().await;
        let builder = project.builder();
        project.dockerfile("RUN echo begun; sleep 15\n");
        let mut first = builder.build(project.request());
        let first_events = follow_until(&mut first, "   begun").await;
        let former = project.builder_pod(running).await.name_any();
        project.pods().delete(&former, &DeleteParams::default()).await.unwrap();

        project.dockerfile("RUN echo another\n");
        let (second, events) = build_with_events(&builder, project.request()).await;
        second.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        let waited = format!("the former daemon, Pod {former}, to finish its builds");
        assert!(shown(&events).contains(&waited), "{}", shown(&events));
        finish(first, first_events).await;
        let [next] = daemon_pods(project).await.try_into().unwrap();
        let statuses = next.status.unwrap().container_statuses.unwrap();
        assert_eq!(statuses[0].restart_count, 0);
        project.remove_storage().await;
    })
    .await;
}

#[tokio::test]
async fn a_storage_class_that_does_not_exist_is_named() {
    in_project("bk-no-class", async |project| {
        let mut storage = garden_build::config::PersistentStorage::default();
        storage.storage_class = Some("no-such-class".to_owned());
        project.buildkit().storage = Some(storage);
        project.dockerfile("RUN true\n");
        let started = Instant::now();
        let error = project.builder().build(project.request()).await.expect_err("no volume");
        assert!(started.elapsed() < WITHIN_SECONDS, "took {:?}", started.elapsed());
        assert_eq!(error.kind(), ErrorKind::BuilderStart, "{error:?}");
        assert!(error.message().contains("\"no-such-class\" not found"), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("storageClass")), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn a_rootless_daemon_builds_images_that_run() {
    in_project("bk-rootless", async |project| {
        project.buildkit().image = Some(variable("GARDEN_TEST_BUILDKIT_ROOTLESS_IMAGE"));
        project.buildkit().rootless = true;
        project.dockerfile("RUN echo built by $(id -u) > /by\nCMD cat /by\n");
        let (image, events) = build_with_events(&project.builder(), project.request()).await;
        let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        registry::assert_has(&image).await;
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "built by 0\n");
        let pod = project.builder_pod(running).await;
        let context = pod.spec.unwrap().containers.remove(0).security_context.unwrap();
        assert_ne!(context.privileged, Some(true));
        assert_eq!(context.run_as_user, Some(1000));
    })
    .await;
}

#[tokio::test]
async fn the_role_in_the_examples_is_enough_to_build() {
    in_project("bk-role", async |project| {
        project.buildkit();
        project.create_registry_secret("pull", "registry.example", "user", "password").await;
        let secret = garden_build::config::SecretRef::new("pull").in_namespace(&project.namespace);
        project.provider.image_pull_secrets.push(secret);
        project.dockerfile("RUN echo built by a user with few rights\n");
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::options(project.provider.clone()).client(client.clone()).connect().unwrap();
        let (image, events) = build_with_events(&builder, project.request()).await;
        let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert_eq!(warnings(&events), Vec::<&str>::new());
        registry::assert_has(&image).await;

        // To change what is there takes other rights than to make it.
        project.buildkit().annotations.insert("example.com/changed".to_owned(), "yes".to_owned());
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        builder.build(project.request().force(true)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_step_that_is_silent_for_45_seconds_survives() {
    in_project("bk-silent", async |project| survives_silence(project, 45).await).await;
}

#[tokio::test]
#[ignore = "takes ten minutes"]
async fn a_step_that_is_silent_for_ten_minutes_survives() {
    in_project("bk-silent-long", async |project| survives_silence(project, 610).await).await;
}

async fn survives_silence(project: &mut Project, seconds: u64) {
    project.buildkit();
    project.dockerfile(&format!("RUN sleep {seconds}\nCOPY app.txt /\n"));
    project.file("app.txt", "asked for after the silence, by the same session\n");
    let started = Instant::now();
    let (image, events) = build_with_events(&project.builder(), project.request()).await;
    registry::assert_has(&image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)))).await;
    assert!(started.elapsed() > Duration::from_secs(seconds));
    assert_eq!(warnings(&events), Vec::<&str>::new());
}
