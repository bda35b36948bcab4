//! Cleaning up the registry within the cluster. Each test has a registry of its own.

mod images;
mod interrupted;
mod permissions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use garden_build::{CleanUpOptions, KeptBecause};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::site::{Project, WITHIN_SECONDS, build_with_events, shown};
use images::{at_once, in_parallel, with_own_registry};

/// A version of ours.
fn version(number: usize) -> String {
    format!("v-{number:020x}")
}

/// Creates an object in the project's namespace.
async fn create<K>(project: &Project, object: Value)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(project.client.clone(), &project.namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// A pod's specification that no node takes: what it names was never pulled.
fn never_scheduled(containers: &Value) -> Value {
    json!({ "nodeSelector": { "example.com/none": "none" }, "restartPolicy": "Never", "containers": containers })
}

/// Uses four images in ways that a look at running containers does not show.
async fn use_images(project: &Project, cron_job: &str, deployment: &str, init: &str, by_digest: &str) {
    let pod = |image: &str| never_scheduled(&json!([{ "name": "main", "image": image }]));
    let cron_job = json!({
        "metadata": { "name": "nightly" },
        "spec": {
            "schedule": "0 3 * * *",
            "suspend": true,
            "jobTemplate": { "spec": { "template": { "spec": pod(cron_job) } } },
        },
    });
    create::<CronJob>(project, cron_job).await;
    let mut scaled = pod(deployment);
    scaled["restartPolicy"] = json!("Always");
    let deployment = json!({
        "metadata": { "name": "scaled-to-zero" },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": "scaled-to-zero" } },
            "template": { "metadata": { "labels": { "app": "scaled-to-zero" } }, "spec": scaled },
        },
    });
    create::<Deployment>(project, deployment).await;
    let mut both = pod(by_digest);
    both["initContainers"] = json!([{ "name": "before", "image": init }]);
    create::<Pod>(project, json!({ "metadata": { "name": "waiting" }, "spec": both })).await;
}

#[tokio::test]
async fn a_clean_up_of_200_images_frees_the_room_of_those_that_nothing_uses() {
    with_own_registry("clean-up", async |project, registry| {
        // Nobody else's workloads name these.
        let named = |name: &str| format!("{}/{name}", project.namespace);
        let repositories = ["api", "web", "worker", "tools/cli"].map(named);
        let multi_arch = named("multi");
        let repository = |number: usize| repositories[number % 4].as_str();
        // Five images each share a layer, all share busybox'.
        let pushes = (0..200).map(|number| {
            let shared = format!("shared {}", number / 5);
            async move {
                let (tag, name) = (version(number), format!("image {number}"));
                registry.push(repository(number), &tag, &name, &[&shared]).await
            }
        });
        let digests = in_parallel(pushes).await;
        let used_index = registry.push_index(&multi_arch, &version(1000), "used index").await;
        registry.push_index(&multi_arch, &version(1001), "unused index").await;
        registry.push(repository(0), "_buildcache", "cache", &[]).await;
        registry.push(repository(0), "latest", "of somebody else", &[]).await;
        registry.push("library/thing", "1.0", "of somebody else", &[]).await;
        // The same image under two tags, of which one is used.
        registry.push(repository(4), &version(2000), "image 4", &["shared 0"]).await;

        let image = |number| registry.on_the_node(&format!("{}:{}", repository(number), version(number)));
        let third = registry.on_the_node(&format!("{}@{}", repository(3), digests[3]));
        use_images(project, &image(0), &image(1), &image(2), &third).await;
        let multi = registry.on_the_node(&format!("{multi_arch}:{}", version(1000)));
        let container = json!([{ "name": "main", "image": &multi }]);
        let pod = json!({ "metadata": { "name": "multi" }, "spec": never_scheduled(&container) });
        create::<Pod>(project, pod).await;
        let options = || at_once().also_in_use(format!("any.example/{}:{}", repository(4), version(2000)));

        let builder = project.builder();
        let plan = builder.plan_clean_up(options()).await.unwrap();
        println!("{plan}");
        // 195 images, and an index with its two.
        assert_eq!(plan.deletions.len(), 195 + 3);
        assert!(plan.unreadable.is_empty());
        assert_eq!(plan.leftover_bytes, 0);
        let reasons: BTreeMap<String, BTreeSet<KeptBecause>> = plan
            .kept
            .iter()
            .map(|kept| (format!("{}:{}", kept.repository, kept.tags.join(",")), kept.reasons.clone()))
            .collect();
        let users = [(0, "CronJob"), (1, "Deployment"), (2, "Pod")];
        for (number, kind) in users {
            let reasons = &reasons[&format!("{}:{}", repository(number), version(number))];
            let used = format!("{reasons:?}");
            assert!(used.contains(kind) && used.contains(&project.namespace), "{used}");
        }
        assert!(registry.has(repository(5), &version(5)).await, "a plan deletes nothing");

        let before = registry.disk_usage().await;
        let mut clean_up = builder.clean_up_registry(options());
        while let Some(event) = clean_up.next_event().await {
            println!("{event}");
        }
        let report = clean_up.await.unwrap();
        let after = registry.disk_usage().await;
        assert_eq!(report.plan.deletions, plan.deletions);
        assert_eq!((report.deleted.len(), report.failed.len()), (198, 0));
        assert_eq!(report.stored_bytes_before - report.stored_bytes_after, plan.freed_bytes);
        // Files take whole blocks, and each image has some dozen of small ones and directories besides.
        let freed = before - after;
        println!("promised {} bytes, the volume has {freed} more", plan.freed_bytes);
        let most = plan.freed_bytes + 198 * (80 << 10);
        assert!((plan.freed_bytes..most).contains(&freed), "{freed}");

        let kept: BTreeSet<String> = in_parallel(repositories.iter().map(|name| registry.tags(name)))
            .await
            .into_iter()
            .flatten()
            .collect();
        let ours = (0..5).map(version).chain([version(2000)]);
        assert_eq!(kept, ours.chain(["_buildcache", "latest"].map(str::to_owned)).collect());
        registry.assert_complete(&multi_arch, used_index).await;
        assert!(!registry.has(&multi_arch, &version(1001)).await);
        assert!(registry.has("library/thing", "1.0").await);
        for number in [0, 1, 2, 4] {
            assert_eq!(project.run(&image(number), &[], None).await, format!("image {number}"));
        }
        assert_eq!(project.run(&third, &[], None).await, "image 3");
        assert_eq!(project.run(&multi, &[], None).await, "used index");

        // There is nothing left to do, and it does no harm to do it, also several times at once.
        let (one, other) = tokio::join!(async { builder.clean_up_registry(options()).await }, async {
            builder.clean_up_registry(options()).await
        },);
        for report in [one.unwrap(), other.unwrap()] {
            assert_eq!(
                (report.deleted.len(), report.plan.freed_bytes, report.plan.leftover_bytes),
                (0, 0, 0)
            );
        }
        registry.assert_complete(&multi_arch, used_index).await;
    })
    .await;
}

/// A kind that an operator would bring along, of which all fields are its own.
async fn create_custom_resource(project: &Project, spec: Value) {
    let group = format!("{}.example.com", project.namespace);
    let definition = json!({
        "metadata": { "name": format!("charts.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": "Chart", "plural": "charts", "singular": "chart", "listKind": "ChartList" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(project.client.clone());
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(&group, "v1", "Chart"), "charts");
    let charts: Api<DynamicObject> = Api::namespaced_with(project.client.clone(), &project.namespace, &kind);
    let chart = DynamicObject::new("chart", &kind).data(json!({ "spec": spec }));
    // The API server takes a moment to serve it.
    let started = Instant::now();
    while let Err(error) = charts.create(&PostParams::default(), &chart).await {
        assert!(started.elapsed() < WITHIN_SECONDS, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn remove_custom_resources(project: &Project) {
    let definitions: Api<CustomResourceDefinition> = Api::all(project.client.clone());
    let name = format!("charts.{}.example.com", project.namespace);
    definitions.delete(&name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn what_is_named_elsewhere_than_as_an_image_is_kept() {
    with_own_registry("clean-up-texts", async |project, registry| {
        let repository = format!("{}/api", project.namespace);
        // Versions that no other test has: texts without a repository keep them everywhere.
        let version = |number: usize| version(0xa11_0000 + number);
        let pushes = (0..8).map(|number| {
            let (repository, tag) = (&repository, version(number));
            async move { registry.push(repository, &tag, &tag, &[]).await }
        });
        let digests = in_parallel(pushes).await;
        let image = |number| format!("any.example:5000/{repository}:{}", version(number));
        let container = json!({
            "name": "main", "image": "example.com/operator",
            "args": [format!("--image={}", image(0))],
            "env": [{ "name": "RELATED_IMAGE_API", "value": image(1) }],
        });
        let metadata = json!({ "name": "operator", "annotations": { "next": format!("then {}", image(2)) } });
        let pod = json!({ "metadata": metadata, "spec": never_scheduled(&json!([container])) });
        create::<Pod>(project, pod).await;
        let values = format!("api:\n  repository: api\n  tag: {}\n", version(3));
        let map = json!({ "metadata": { "name": "values" }, "data": { "values.yaml": values } });
        create::<ConfigMap>(project, map).await;
        create_custom_resource(
            project,
            json!({ "tag": version(4), "worker": { "digest": digests[5].hex() } }),
        )
        .await;
        let secret = json!({ "metadata": { "name": "hidden" }, "stringData": { "image": image(6) } });
        create::<Secret>(project, secret).await;

        let report = project.builder().clean_up_registry(at_once()).await.unwrap();
        let deleted: BTreeSet<&str> =
            report.deleted.iter().flat_map(|it| &it.tags).map(String::as_str).collect();
        assert_eq!(deleted, [&*version(6), &*version(7)].into(), "{report}");
        remove_custom_resources(project).await;
    })
    .await;
}

#[tokio::test]
async fn young_images_are_kept() {
    with_own_registry("clean-up-young", async |project, registry| {
        let digest = registry.push("shop/api", &version(1), "image", &[]).await;
        let report = project.builder().clean_up_registry(CleanUpOptions::new()).await.unwrap();
        assert!(report.deleted.is_empty());
        assert_eq!(report.plan.kept[0].reasons, BTreeSet::from([KeptBecause::Young]));
        registry.assert_complete("shop/api", digest).await;
    })
    .await;
}

#[tokio::test]
async fn a_build_succeeds_while_clean_ups_run_one_after_another() {
    with_own_registry("clean-up-build", async |project, registry| {
        project.dockerfile(
            "RUN sleep 2 && echo one > /one\nRUN sleep 2 && echo two > /made\nCMD [\"cat\", \"/made\"]\n",
        );
        let builder = project.builder();
        let building = build_with_events(&builder, project.request());
        tokio::pin!(building);
        let mut clean_ups = 0;
        let (image, events) = loop {
            registry.push("shop/old", &version(clean_ups), &format!("old {clean_ups}"), &[]).await;
            // What the build has just pushed is young.
            let options = CleanUpOptions::new().keep_younger_than(Duration::from_secs(20));
            tokio::select! {
                biased;
                built = &mut building => break built,
                report = async { builder.clean_up_registry(options).await } => { report.unwrap(); }
            }
            clean_ups += 1;
        };
        let image = image.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        println!("{clean_ups} clean-ups\n{}", shown(&events));
        assert!(clean_ups > 0);
        let name = image.reference.to_string();
        let name = registry.on_the_node(name.strip_prefix("127.0.0.1:5000/").unwrap());
        assert_eq!(project.run(&name, &[], None).await.trim(), "two");
    })
    .await;
}
