//! Namespaces of tests, in a cluster that is a server in another thread.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::sync::mpsc;
use std::time::Duration;

use garden_build_testing::cluster::{Keep, LABEL, TestNamespace};
use garden_build_testing::kubernetes::FakeCluster;
use kube::Config;
use serde_json::json;

/// A thread of its own serves it, as a namespace that is dropped holds up its test's thread.
fn cluster() -> (FakeCluster, Config) {
    let cluster = FakeCluster::new();
    let (started, url) = mpsc::channel();
    let served = cluster.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            started.send(served.listen().await.unwrap()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    (cluster, Config::new(url.recv().unwrap().parse().unwrap()))
}

/// The namespaces of tests.
fn names(cluster: &FakeCluster) -> Vec<String> {
    let all = cluster.names("namespaces").into_iter();
    all.filter(|name| name != "default" && !name.starts_with("kube-")).collect()
}

fn is_labelled(cluster: &FakeCluster, name: &str) -> bool {
    let namespace = cluster.object("namespaces", "", name).unwrap();
    !namespace["metadata"]["labels"][LABEL].is_null()
}

#[tokio::test]
async fn a_namespace_lasts_as_long_as_its_test_however_that_ends() {
    let (cluster, config) = cluster();
    let options = TestNamespace::options("shop").label("team", "web").keep(Keep::Nothing);
    let removed = options.clone().create(config.clone()).await.unwrap();
    let dropped = options.clone().create(config.clone()).await.unwrap();
    assert_eq!(names(&cluster).len(), 2);
    assert!(dropped.name().starts_with("shop-") && removed.name() != dropped.name());
    let object = cluster.object("namespaces", "", dropped.name()).unwrap();
    assert_eq!(object["metadata"]["labels"]["team"], "web");
    assert!(is_labelled(&cluster, dropped.name()));
    removed.client().apiserver_version().await.unwrap();
    removed.remove().await.unwrap();
    drop(dropped);
    let panicking = tokio::spawn(async move {
        let _namespace = options.create(config).await.unwrap();
        panic!("a test that fails");
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(names(&cluster), [""; 0]);
}

#[tokio::test]
async fn the_namespace_of_a_test_that_fails_is_kept_for_good_if_that_is_wished() {
    let (cluster, config) = cluster();
    let options = TestNamespace::options("shop").keep(Keep::Failed).left_over_after(Duration::ZERO);
    drop(options.clone().create(config.clone()).await.unwrap());
    assert_eq!(names(&cluster), [""; 0], "it has not failed");
    let failing = tokio::spawn({
        let (options, config) = (options.clone(), config.clone());
        async move {
            let _namespace = options.create(config).await.unwrap();
            panic!("a test that fails");
        }
    });
    assert!(failing.await.unwrap_err().is_panic());
    let kept = names(&cluster);
    assert_eq!(kept.len(), 1);
    cluster.alter("namespaces", "", &kept[0], |it| {
        it["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
    });
    options.create(config).await.unwrap().remove().await.unwrap();
    assert_eq!(names(&cluster), kept);
}

#[tokio::test]
async fn what_killed_tests_have_left_is_deleted_when_it_is_old() {
    let (cluster, config) = cluster();
    for (name, created) in [
        ("old", "2020-01-01T00:00:00Z"),
        ("foreign", "2020-01-01T00:00:00Z"),
        ("young", "2999-01-01T00:00:00Z"),
    ] {
        let labels = if name == "foreign" { json!({}) } else { json!({ LABEL: "test" }) };
        cluster.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }));
        cluster.alter("namespaces", "", name, |it| it["metadata"]["creationTimestamp"] = created.into());
    }
    let namespace = TestNamespace::options("shop").keep(Keep::Nothing).create(config).await.unwrap();
    namespace.remove().await.unwrap();
    assert_eq!(names(&cluster), ["foreign", "young"]);
}
