//! The `NetworkPolicy` of the context service.

use garden_build_core::{Backend as _, event_channel};
use garden_build_testing::kubernetes::{FakeCluster, Fault, Refusal};
use garden_config::ContextDelivery;
use serde_json::{Value, json};

use crate::service::{Turn, cluster};
use crate::site::{NAMESPACE, Site, settings};

const NAME: &str = "garden-util";
const POLICIES: &str = "networkpolicies";

/// A build that wants a policy, or wants none.
fn build(fake: &FakeCluster, id: &str, network_policies: bool) -> Site {
    let mut settings = settings(ContextDelivery::Sync);
    settings.network_policies = network_policies;
    Site::with_settings(fake.clone(), id, settings)
}

/// Whether the labels are those that a selector asks for.
fn chooses(selector: &Value, labels: &Value) -> bool {
    let has = |(name, value): (&String, &Value)| labels[name] == *value;
    let exists = |expression: &Value| {
        assert_eq!(expression["operator"], "Exists");
        !labels[expression["key"].as_str().unwrap()].is_null()
    };
    selector["matchLabels"].as_object().unwrap().iter().all(has)
        && selector["matchExpressions"].as_array().unwrap().iter().all(exists)
}

fn asked_for_policies(fake: &FakeCluster) -> bool {
    fake.requests().iter().any(|request| request.resource() == POLICIES)
}

#[tokio::test(start_paused = true)]
async fn the_first_build_makes_it_before_the_service_and_the_pods_of_builds_are_let_in() {
    let fake = cluster(Turn::None, |pod| pod.run());
    build(&fake, "0123456789", true).build().await.outcome.unwrap();
    let policy = fake.object(POLICIES, NAMESPACE, NAME).unwrap();
    let service = fake.object("deployments", NAMESPACE, NAME).unwrap();
    assert_eq!(policy["metadata"]["labels"], service["metadata"]["labels"]);
    let of_service = &service["spec"]["template"]["metadata"]["labels"];
    assert_eq!(policy["spec"]["podSelector"], json!({ "matchLabels": of_service }));

    let from = policy["spec"]["ingress"][0]["from"].as_array().unwrap();
    assert_eq!((from.len(), &from[0]["namespaceSelector"]), (1, &Value::Null), "its own namespace only");
    let requests = fake.requests();
    let place = |words: &str| requests.iter().position(|request| request.words() == words);
    let made = |what: &str| place(what).unwrap_or_else(|| panic!("no {what} in {:?}", fake.writes()));
    assert!(made("patch networkpolicies builds/garden-util") < made("create deployments builds/garden-util"));
    let pod = requests.iter().find(|it| it.verb() == "patch" && it.resource() == "pods").unwrap();
    let pod: Value = serde_json::from_slice(&pod.body).unwrap();
    assert!(chooses(&from[0]["podSelector"], &pod["metadata"]["labels"]), "{pod}");
    assert!(!chooses(&from[0]["podSelector"], of_service));

    // A service that works is used as it is.
    fake.forget_requests();
    build(&fake, "9876543210", true).build().await.outcome.unwrap();
    assert!(!asked_for_policies(&fake));
}

#[tokio::test(start_paused = true)]
async fn builds_that_want_none_ask_for_none_and_only_an_installation_removes_it() {
    let fake = cluster(Turn::None, |pod| pod.run());
    let without = build(&fake, "0123456789", false);
    without.build().await.outcome.unwrap();
    // Anew, and over one that is there.
    fake.remove("deployments", NAMESPACE, NAME);
    without.build().await.outcome.unwrap();
    fake.alter("deployments", NAMESPACE, NAME, |it| it["spec"]["replicas"] = 0.into());
    fake.until(|| fake.names("pods").is_empty().then_some(())).await;
    without.build().await.outcome.unwrap();
    assert!(!asked_for_policies(&fake));

    let install = async |network_policies| {
        let site = build(&fake, "0123456789", network_policies);
        let service = site.backend.context_service().unwrap().clone();
        Box::pin(service.apply(&event_channel().0)).await.unwrap();
        fake.names(POLICIES)
    };
    assert_eq!(Box::pin(install(true)).await, [NAME]);
    assert_eq!(Box::pin(install(false)).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_it_a_build_says_which_is_missing_and_makes_no_service() {
    let fake = cluster(Turn::None, |pod| pod.run());
    let refusal = Refusal::forbidden("get", POLICIES, NAMESPACE);
    fake.fault(Fault::refuse("get", POLICIES, refusal).always());
    let error = build(&fake, "0123456789", true).build().await.outcome.unwrap_err();
    assert_eq!(
        error.hint(),
        Some("ask for a role that may read NetworkPolicy builds/garden-util"),
        "{error:?}"
    );
    assert_eq!(fake.names("deployments"), Vec::<String>::new());
}

#[tokio::test]
async fn a_plan_shows_it() {
    let fake = FakeCluster::new();
    let shown = |network_policies| {
        let site = build(&fake, "0123456789", network_policies);
        let objects = site.backend.plan(&site.job).unwrap();
        objects.iter().filter(|object| object.description.starts_with("NetworkPolicy")).count()
    };
    assert_eq!((shown(true), shown(false)), (1, 0));
}
