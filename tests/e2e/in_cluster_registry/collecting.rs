//! Collections of garbage, and what happens to builds and clients meanwhile.

use std::time::Duration;

use garden_build::{Error, Outcome};
use garden_build_core::EventSink;
use garden_cluster::{ClusterError, Collected, InClusterRegistry, ServerRun};
use garden_registry::Resolution;
use garden_registry::clean_up::DeletionList;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{AttachParams, DeleteParams};
use kube::{Api, ResourceExt};
use tokio::io::AsyncReadExt;

use super::{in_project_with_registry, use_buildkit};
use crate::site::{PATIENCE, Project, build_with_events, printed, shown, warnings};

#[tokio::test]
async fn a_collection_frees_what_is_deleted_and_keeps_the_rest() {
    in_project_with_registry("icr-collect", async |project| {
        let in_cluster = project.in_cluster_registry();
        let unique = project.namespace.clone();
        project.kaniko().extra_flags = vec!["--cache=false".to_owned()];
        project.dockerfile(&format!("RUN echo {unique} && dd if=/dev/urandom of=/random bs=1M count=8\n"));
        let deleted = project.builder().build(project.request()).await.unwrap();
        project.dockerfile(&format!("RUN echo {unique} > /kept\nCMD cat /kept\n"));
        let kept = project.builder().build(project.request()).await.unwrap();

        let before = disk_usage(project).await;
        let client = in_cluster.client().await.unwrap();
        let manifests = format!(
            "{}/docker/registry/v2/repositories/{}/_manifests",
            InClusterRegistry::STORAGE,
            deleted.reference.repository()
        );
        let (tag, hex) = (deleted.reference.tag().unwrap(), deleted.digest.hex());
        let remove =
            format!("rm -r {manifests}/tags/{tag} {manifests}/revisions/sha256/{hex} && echo removed");
        assert_eq!(in_registry_pod(project, &remove).await.trim(), "removed");
        // Two at once: both wait for a collection that began after they asked.
        let events = printed();
        let (one, other) = tokio::join!(collect(&in_cluster, &events), collect(&in_cluster, &events));
        println!("{:?}", one.unwrap());
        other.unwrap();
        let after = disk_usage(project).await;
        assert!(after + (7 << 10) < before, "{before} KiB before, {after} KiB after");

        let reached = deleted.reference.in_registry(&in_cluster.host()).unwrap();
        assert_eq!(client.resolve(&reached).await.unwrap(), Resolution::Missing);
        assert_eq!(project.run(&kept.reference.to_string(), &[], None).await.trim(), unique);
        let again = project.builder().build(project.request()).await.unwrap();
        assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, kept.digest));
    })
    .await;
}

/// Deletes nothing.
async fn collect(registry: &InClusterRegistry, events: &EventSink) -> Result<Collected, ClusterError> {
    Box::pin(registry.collect_garbage(&DeletionList::default(), events)).await
}

async fn disk_usage(project: &Project) -> u64 {
    let said = in_registry_pod(project, &format!("du -sk {}", InClusterRegistry::STORAGE)).await;
    said.split_whitespace().next().unwrap().parse().unwrap()
}

/// Runs a script in the registry's container, and returns what it prints.
async fn in_registry_pod(project: &Project, script: &str) -> String {
    let pod = project.in_cluster_registry().pod().await.unwrap().name_any();
    let pods: Api<Pod> = Api::namespaced(project.client.clone(), "garden-system");
    let mut running = pods.exec(&pod, ["sh", "-c", script], &AttachParams::default()).await.unwrap();
    let mut said = String::new();
    let mut output = running.stdout().unwrap();
    let reading = output.read_to_string(&mut said);
    tokio::time::timeout(PATIENCE, reading).await.expect("it takes too long").unwrap();
    said
}

/// Stops the collector's process as soon as there is one, so that the collection lasts until it is ended; prints its number. Starts no
/// process meanwhile, to be quick enough; the brackets keep it from finding itself.
const FREEZE_COLLECTOR: &str = "
    until [ \"$found\" ]; do
        for process in /proc/[0-9]*; do
            read -r command <$process/cmdline
            case $command in *[g]arbage-collect*) found=${process#/proc/}; kill -STOP $found ;; esac
        done 2>/dev/null
    done
    echo $found";

/// The server that serves during a collection takes a moment to start.
async fn answering(registry: &InClusterRegistry) -> ServerRun {
    loop {
        if let Ok(run) = registry.server().await {
            return run;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_collection_whose_pod_dies_leaves_a_registry_that_takes_pushes() {
    in_project_with_registry("icr-killed", async |project| {
        let in_cluster = project.in_cluster_registry();
        project.dockerfile(&format!("RUN echo {}\nCMD echo kept\n", project.namespace));
        let image = project.builder().build(project.request()).await.unwrap();

        let events = printed();
        let freezing = in_registry_pod(project, FREEZE_COLLECTOR);
        let killing = async {
            freezing.await;
            // Served, but not pushed to.
            assert!(!answering(&in_cluster).await.takes_pushes);
            assert!(project.run(&image.reference.to_string(), &[], None).await.contains("kept"));
            let pods: Api<Pod> = Api::namespaced(project.client.clone(), "garden-system");
            let pod = in_cluster.pod().await.unwrap().name_any();
            pods.delete(&pod, &DeleteParams::default().grace_period(0)).await.unwrap();
        };
        let (collected, ()) = tokio::join!(Box::pin(collect(&in_cluster, &events)), Box::pin(killing));
        let error = Error::from(collected.expect_err("its pod was killed"));
        assert!(error.message().contains("interrupted") && error.is_retryable(), "{error:?}");

        project.dockerfile(&format!("RUN echo {} again\n", project.namespace));
        let pushed = project.builder().build(project.request()).await.unwrap();
        assert!(matches!(pushed.outcome, Outcome::Built { .. }));
        Box::pin(collect(&in_cluster, &events)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_collection_goes_on_without_the_client_that_asked_for_it() {
    in_project_with_registry("icr-alone", async |project| {
        let in_cluster = project.in_cluster_registry();
        let events = printed();
        let collector = tokio::select! {
            collector = in_registry_pod(project, FREEZE_COLLECTOR) => collector,
            collected = collect(&in_cluster, &events) => panic!("it cannot have ended: {collected:?}"),
        };
        assert!(!answering(&in_cluster).await.takes_pushes);
        in_registry_pod(project, &format!("kill -CONT {collector}")).await;
        in_cluster.takes_pushes(&events).await.unwrap();
        let result = in_registry_pod(project, "head -n 1 /run/garden-registry/result").await;
        assert!(result.trim().ends_with(" 0"), "{result}");
    })
    .await;
}

#[tokio::test]
async fn a_build_whose_push_is_refused_waits_for_the_end_of_the_collection() {
    in_project_with_registry("icr-waits", async |project| {
        Box::pin(waits(project)).await;
        use_buildkit(project);
        Box::pin(waits(project)).await;
    })
    .await;
}

/// Builds while a collection lasts, which is let go when the build has said that it waits.
async fn waits(project: &Project) {
    let in_cluster = project.in_cluster_registry();
    let mode = project.provider.build_mode.as_str();
    project.dockerfile(&format!("RUN echo {} {mode}\n", project.namespace));
    let events = printed();
    let collecting = collect(&in_cluster, &events);
    let building = async {
        let collector = in_registry_pod(project, FREEZE_COLLECTOR).await;
        assert!(!answering(&in_cluster).await.takes_pushes);
        let mut build = project.builder().build(project.request());
        let mut events = Vec::new();
        while let Some(event) = build.next_event().await {
            if event.to_string().contains("it collects garbage") {
                in_registry_pod(project, &format!("kill -CONT {collector}")).await;
            }
            events.push(event);
        }
        let image = build.await.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(
            warnings(&events).iter().any(|message| message.contains("begins again")),
            "{}",
            shown(&events)
        );
        image
    };
    let (collected, image) = tokio::join!(collecting, building);
    collected.unwrap();
    assert!(matches!(image.outcome, Outcome::Built { .. }));
    let again = project.builder().build(project.request()).await.unwrap();
    assert_eq!((again.outcome, again.digest), (Outcome::AlreadyExists, image.digest));
}

/// Collects over and over while `build` runs, and returns what that does and how often it was collected.
async fn while_collecting<T>(project: &Project, build: impl Future<Output = T>) -> (T, usize) {
    let (in_cluster, events) = (project.in_cluster_registry(), printed());
    let mut collections = 0;
    let collecting = Box::pin(async {
        // Long enough for a push to get somewhere, and too short for all of it. On a slow machine no push would ever get through
        // such pauses, so each is longer than the last.
        let mut pause = Duration::from_millis(1500);
        loop {
            collect(&in_cluster, &events).await.unwrap();
            collections += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    });
    let outcome = tokio::select! {
        outcome = build => outcome,
        never = collecting => never,
    };
    (outcome, collections)
}

#[tokio::test]
async fn a_build_that_pushes_through_collections_succeeds() {
    in_project_with_registry("icr-through", async |project| {
        let random = |project: &Project, mode: &str| {
            let layer = format!(
                "RUN echo {} {mode} && dd if=/dev/urandom of=/random bs=1M count=30\n",
                project.namespace
            );
            project.dockerfile(&format!("{}CMD echo {mode}\n", layer.repeat(4)));
        };
        random(project, "kaniko");
        Box::pin(pushes_through(project, "kaniko")).await;
        use_buildkit(project);
        random(project, "buildkit");
        Box::pin(pushes_through(project, "buildkit")).await;
    })
    .await;
}

async fn pushes_through(project: &Project, mode: &str) {
    let builder = project.builder();
    let ((image, events), collections) =
        while_collecting(project, build_with_events(&builder, project.request())).await;
    let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
    println!("{mode}: {collections} collections; {:#?}", warnings(&events));
    assert!(collections > 0);
    assert!(project.run(&image.reference.to_string(), &[], None).await.contains(mode));
}
