//! The API server as `kube` sees it, which knows nothing of it.

#![allow(clippy::unwrap_used, reason = "test code may fail loudly")]

use std::time::Duration;

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use garden_build_testing::kubernetes::{End, FakeCluster, Fault, Gate, Refusal};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{
    AttachParams, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy, VersionMatch, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn config(name: &str, value: &str) -> ConfigMap {
    let config = json!({ "metadata": { "name": name, "labels": { "n": name } }, "data": { "k": value } });
    serde_json::from_value(config).unwrap()
}

fn configs(cluster: &FakeCluster) -> Api<ConfigMap> {
    Api::namespaced(cluster.client(), "default")
}

fn pod(name: &str) -> Pod {
    let pod = json!({
        "metadata": { "name": name },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "main" }] },
    });
    serde_json::from_value(pod).unwrap()
}

fn pods(cluster: &FakeCluster) -> Api<Pod> {
    Api::namespaced(cluster.client(), "default")
}

fn code<T: std::fmt::Debug>(answer: kube::Result<T>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_list_shows_what_there_was_at_a_moment() {
    let cluster = FakeCluster::new();
    let api = configs(&cluster);
    for name in ["a", "b"] {
        api.create(&PostParams::default(), &config(name, "1")).await.unwrap();
    }
    let moment = api.get("b").await.unwrap().resource_version().unwrap();
    api.create(&PostParams::default(), &config("c", "1")).await.unwrap();
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({ "data": { "k": "2" } }))).await.unwrap();
    api.delete("b", &DeleteParams::default()).await.unwrap();
    let then = ListParams::default().matching(VersionMatch::Exact).at(&moment);
    let listed = api.list(&then).await.unwrap();
    let seen: Vec<_> =
        listed.iter().map(|it| (it.name_any(), it.data.clone().unwrap()["k"].clone())).collect();
    assert_eq!(seen, [("a", "1"), ("b", "1")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(listed.metadata.resource_version, Some(moment));
    cluster.expire_watches();
    assert_eq!(code(api.list(&then).await), 410);
}

#[tokio::test]
async fn objects_are_created_read_changed_and_deleted() {
    let cluster = FakeCluster::new();
    let api = configs(&cluster);
    let created = api.create(&PostParams::default(), &config("a", "1")).await.unwrap();
    assert!(created.uid().is_some() && created.metadata.creation_timestamp.is_some());
    assert_eq!(code(api.create(&PostParams::default(), &config("a", "2")).await), 409);
    assert_eq!(code(api.get("b").await), 404);

    let merge = |value| Patch::Merge(json!({ "data": { "k": value } }));
    let same = api.patch("a", &PatchParams::default(), &merge("1")).await.unwrap();
    assert_eq!(same.resource_version(), created.resource_version(), "what changes nothing is not written");
    let changed = api.patch("a", &PatchParams::default(), &merge("2")).await.unwrap();
    assert_ne!(changed.resource_version(), created.resource_version());
    assert_eq!(code(api.patch("b", &PatchParams::default(), &merge("2")).await), 404);

    // What was read before somebody else wrote takes no effect.
    assert_eq!(code(api.replace("a", &PostParams::default(), &created).await), 409);
    api.replace("a", &PostParams::default(), &changed).await.unwrap();

    let apply = Patch::Apply(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "own": "x" } }));
    assert_eq!(code(api.patch("a", &PatchParams::default(), &apply).await), 422, "without a manager");
    let applied = api.patch("a", &PatchParams::apply("me"), &apply).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 2);
    api.patch("new", &PatchParams::apply("me"), &apply).await.unwrap();

    let stale = Preconditions { resource_version: created.resource_version(), uid: None };
    assert_eq!(code(api.delete("a", &DeleteParams::default().preconditions(stale)).await), 409);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert_eq!(code(api.delete("a", &DeleteParams::default()).await), 404);
    assert_eq!(cluster.names("configmaps"), ["new"]);

    let elsewhere: Api<ConfigMap> = Api::namespaced(cluster.client(), "nowhere");
    assert_eq!(code(elsewhere.create(&PostParams::default(), &config("a", "1")).await), 404);
    assert_eq!(cluster.count("create", "configmaps"), 3);
}

#[tokio::test]
async fn lists_come_in_pages_and_as_metadata_only() {
    let cluster = FakeCluster::new();
    let api = configs(&cluster);
    for name in ["a", "b", "c"] {
        api.create(&PostParams::default(), &config(name, "1")).await.unwrap();
    }
    let page = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(page.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["a", "b"]);
    let token = page.metadata.continue_.unwrap();
    let rest = api.list(&ListParams::default().continue_token(&token)).await.unwrap();
    assert_eq!(rest.items[0].name_any(), "c");
    let labelled = api.list_metadata(&ListParams::default().labels("n in (a,c)")).await.unwrap();
    assert_eq!(labelled.items.len(), 2);
    cluster.expire_watches();
    assert_eq!(code(api.list(&ListParams::default().continue_token(&token)).await), 410);
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner() {
    let cluster = FakeCluster::new();
    let owner = pods(&cluster).create(&PostParams::default(), &pod("owner")).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "default");
    let belonging = |name: &str, uid: &str| -> Secret {
        let owners = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": uid }]);
        let metadata = json!({ "name": name, "ownerReferences": owners });
        serde_json::from_value(json!({ "metadata": metadata, "stringData": { "k": "text" } })).unwrap()
    };
    let uid = owner.uid().unwrap();
    secrets.create(&PostParams::default(), &belonging("a", &uid)).await.unwrap();
    assert_eq!(secrets.get("a").await.unwrap().data.unwrap()["k"].0, b"text");
    secrets.create(&PostParams::default(), &belonging("orphan", "another")).await.unwrap();
    assert_eq!(cluster.names("secrets"), ["a"], "an owner that is not there owns nothing");
    pods(&cluster).delete("owner", &DeleteParams::default()).await.unwrap();
    assert_eq!(cluster.names("secrets"), Vec::<String>::new());

    let owner = pods(&cluster).create(&PostParams::default(), &pod("owner")).await.unwrap();
    secrets.create(&PostParams::default(), &belonging("a", &owner.uid().unwrap())).await.unwrap();
    let orphan =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    pods(&cluster).delete("owner", &orphan).await.unwrap();
    assert_eq!(cluster.names("secrets"), ["a"]);
}

#[tokio::test]
async fn a_pod_on_a_node_stops_within_its_grace() {
    let cluster = FakeCluster::new();
    let api = pods(&cluster);
    api.create(&PostParams::default(), &pod("a")).await.unwrap();
    let running = cluster.pod("default", "a").unwrap();
    running.run();
    let marked = api.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    running.deleted().await;
    assert_eq!(cluster.names("pods"), ["a"]);
    api.delete("a", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(cluster.names("pods"), Vec::<String>::new());
}

#[tokio::test]
async fn a_watch_tells_what_happens_until_it_is_disrupted() {
    let cluster = FakeCluster::new();
    let api = configs(&cluster);
    let first = api.create(&PostParams::default(), &config("a", "1")).await.unwrap();
    let only_a = WatchParams::default().labels("n=a");
    let from = first.resource_version().unwrap();
    let mut watch = api.watch(&only_a, &from).await.unwrap().boxed();
    cluster.alter("configmaps", "default", "a", |it| it["data"]["k"] = "2".into());
    api.create(&PostParams::default(), &config("b", "1")).await.unwrap();
    assert!(matches!(watch.try_next().await.unwrap(), Some(WatchEvent::Modified(_))));
    // What is not chosen any more is gone for a watch.
    cluster.alter("configmaps", "default", "a", |it| it["metadata"]["labels"]["n"] = "z".into());
    assert!(matches!(watch.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))));
    cluster.send_bookmarks();
    assert!(matches!(watch.try_next().await.unwrap(), Some(WatchEvent::Bookmark(_))));
    cluster.end_watches();
    assert!(watch.try_next().await.unwrap().is_none());

    // What was missed between two watches comes with the second.
    let mut watch = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    for _ in 0..3 {
        assert!(watch.try_next().await.unwrap().is_some());
    }
    cluster.expire_watches();
    let Some(WatchEvent::Error(status)) = watch.try_next().await.unwrap() else { panic!("no error") };
    assert_eq!(status.code, 410);
    let mut watch = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    let Some(WatchEvent::Error(status)) = watch.try_next().await.unwrap() else { panic!("no error") };
    assert_eq!(status.code, 410);
}

#[tokio::test(start_paused = true)]
async fn kubes_own_watcher_goes_on_after_each_disruption() {
    let cluster = FakeCluster::new();
    let api = configs(&cluster);
    let mut watcher = watcher(api.clone(), watcher::Config::default()).boxed();
    let mut names = async |wanted: &str| loop {
        match watcher.next().await.unwrap() {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))
                if object.name_any() == wanted =>
            {
                return;
            }
            _ => {}
        }
    };
    let create =
        async |name: &str| api.create(&PostParams::default(), &config(name, "1")).await.map(drop).unwrap();
    create("a").await;
    names("a").await;
    for (name, disrupt) in [
        ("b", FakeCluster::end_watches as fn(&FakeCluster)),
        ("c", FakeCluster::cut_watches),
        ("d", FakeCluster::expire_watches),
    ] {
        disrupt(&cluster);
        create(name).await;
        names(name).await;
    }
}

#[tokio::test]
async fn a_log_is_followed_to_its_end_or_to_a_cut() {
    let cluster = FakeCluster::new();
    let api = pods(&cluster);
    api.create(&PostParams::default(), &pod("a")).await.unwrap();
    let follow = LogParams { follow: true, ..LogParams::default() };
    assert_eq!(code(api.logs("a", &follow).await), 400, "it has not started");
    let running = cluster.pod("default", "a").unwrap();
    running.run();
    running.say("main", "one");
    let mut lines = api.log_stream("a", &follow).await.unwrap().lines();
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "one");
    running.say("main", "two");
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "two");
    cluster.cut_log("default", "a", "main", false);
    assert!(lines.try_next().await.is_err());
    let lines = api.log_stream("a", &follow).await.unwrap().lines();
    running.exit("main", 0, "");
    assert_eq!(lines.try_collect::<Vec<_>>().await.unwrap(), ["one", "two"]);
    assert_eq!(cluster.object("pods", "default", "a").unwrap()["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn commands_and_ports_of_pods_are_what_the_test_says() {
    let cluster = FakeCluster::new();
    let api = pods(&cluster);
    api.create(&PostParams::default(), &pod("a")).await.unwrap();
    let both = AttachParams::default().stdin(true).stdout(true).stderr(false);
    assert_eq!(code(api.exec("a", ["cat"], &both).await.map(drop)), 500, "it does not run");
    cluster.pod("default", "a").unwrap().run();
    cluster.on_exec(|mut process| async move {
        let mut text = String::new();
        process.stdin.read_to_string(&mut text).await.unwrap();
        process.stdout.write_all(format!("{:?} {text}", process.command).as_bytes()).await.unwrap();
        End::Exit(if text.is_empty() { 3 } else { 0 })
    });
    for (input, success) in [("hello", "Success"), ("", "Failure")] {
        let mut process = api.exec("a", ["cat", "-"], &both).await.unwrap();
        let mut stdin = process.stdin().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        stdin.shutdown().await.unwrap();
        drop(stdin);
        let mut said = String::new();
        process.stdout().unwrap().read_to_string(&mut said).await.unwrap();
        assert_eq!(said, format!("[\"cat\", \"-\"] {input}"));
        let status = process.take_status().unwrap().await.unwrap();
        assert_eq!(status.status.as_deref(), Some(success));
    }

    let mut forwarded = api.portforward("a", &[80]).await.unwrap();
    let refused = forwarded.take_error(80).unwrap().await.unwrap();
    assert!(refused.contains("connection refused"), "{refused}");
    cluster.on_connection(|mut connection| async move {
        let mut byte = [0; 4];
        connection.stream.read_exact(&mut byte).await.unwrap();
        connection.stream.write_all(&byte).await.unwrap();
    });
    let mut forwarded = api.portforward("a", &[80]).await.unwrap();
    let mut stream = forwarded.take_stream(80).unwrap();
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
}

#[tokio::test]
async fn faults_strike_as_often_as_they_are_meant_to() {
    let cluster = FakeCluster::new();
    let api = configs(&cluster);
    let create = async |name: &str| api.create(&PostParams::default(), &config(name, "1")).await;
    cluster.fault(Fault::lose_answer("create", "configmaps"));
    assert!(create("lost").await.is_err());
    cluster.fault(Fault::cut("create", "configmaps"));
    assert!(create("cut").await.is_err());
    assert_eq!(cluster.names("configmaps"), ["lost"], "one took effect, the other did not");
    cluster
        .fault(Fault::refuse("*", "configmaps", Refusal::forbidden("get", "configmaps", "default")).times(2));
    assert_eq!((code(api.get("lost").await), code(create("x").await)), (403, 403));
    api.get("lost").await.unwrap();
    cluster.fault(Fault::meddle("create", "configmaps", |cluster| {
        cluster.put(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "default" } }));
    }));
    assert_eq!(code(create("x").await), 409);
    cluster.fault(Fault::silent("get", "configmaps").named("x"));
    assert!(tokio::time::timeout(Duration::from_millis(1), api.get("x")).await.is_err());
    api.get("lost").await.unwrap();
}

#[tokio::test]
async fn what_the_server_has_begun_it_carries_out_after_the_client_has_gone() {
    let cluster = FakeCluster::new();
    let gate = Gate::new();
    cluster.fault(Fault::hold("create", "configmaps", &gate));
    let api = configs(&cluster);
    let creating =
        tokio::spawn(async move { api.create(&PostParams::default(), &config("late", "1")).await });
    gate.arrived().await;
    creating.abort();
    assert!(creating.await.is_err());
    assert_eq!(cluster.names("configmaps"), Vec::<String>::new());
    gate.open();
    cluster.until(|| (cluster.names("configmaps") == ["late"]).then_some(())).await;
}

#[tokio::test]
async fn a_path_at_which_nothing_is_served_is_not_found() {
    let cluster = FakeCluster::new();
    let url = cluster.listen().await.unwrap();
    let config = kube::Config::new(url.parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let ask = async |path: &str| {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        client.request::<serde_json::Value>(request).await
    };
    for path in ["/", "/apis/example.com/v1/things", "/api/v1/namespaces/default/pods/a/nothing"] {
        assert_eq!(code(ask(path).await), 404, "{path}");
    }
    assert_eq!(ask("/version").await.unwrap()["major"], "1");
}
