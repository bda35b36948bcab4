use garden_build::config::SecretRef;
use garden_build::{Builder, ErrorKind, Outcome, SecretCopy};
use kube::api::ListParams;

use crate::site::{Project, build_with_events, in_project, recording_client, running, shown, variable};

fn basic_registry() -> (String, String, String) {
    (
        variable("GARDEN_TEST_REGISTRY_BASIC"),
        variable("GARDEN_TEST_REGISTRY_BASIC_USERNAME"),
        variable("GARDEN_TEST_REGISTRY_BASIC_PASSWORD"),
    )
}

/// Pushes to the registry with basic authentication, with `password` in a secret called `push`.
async fn push_to_basic_registry(project: &mut Project, password: &str) -> String {
    let (host, username, _) = basic_registry();
    project.create_registry_secret("push", &host, &username, password).await;
    project.use_registry(&host);
    project.registry().insecure = true;
    let namespace = project.namespace.clone();
    use_pull_secret(project, "push", &namespace);
    host
}

fn use_pull_secret(project: &mut Project, name: &str, namespace: &str) {
    project.provider.image_pull_secrets.push(SecretRef::new(name).in_namespace(namespace));
}

#[tokio::test]
async fn copied_pull_secrets_let_pods_of_another_namespace_pull() {
    in_project("copied-from", async |owner| {
        let (host, username, password) = basic_registry();
        owner.create_registry_secret("pull", &host, &username, &password).await;
        owner.create_registry_secret("other", "r.example", "user", "pass").await;
        let source = owner.namespace.clone();
        in_project("copied-to", async |project| {
            use_pull_secret(project, "pull", &source);
            project.provider.copy_secrets.push(SecretRef::new("other").in_namespace(&source));
            let (client, calls) = recording_client().await;
            let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
            let copies = async || {
                let ensured = builder.ensure_pull_secrets(&project.namespace).await.unwrap();
                ensured.into_iter().map(|secret| secret.copy).collect::<Vec<_>>()
            };
            assert_eq!(copies().await, [SecretCopy::Created, SecretCopy::Created]);
            let printed =
                project.run(&format!("{host}/private/busybox:1.36"), &["echo", "pulled"], Some("pull")).await;
            assert_eq!(printed, "pulled\n");

            calls.lock().unwrap().clear();
            assert_eq!(copies().await, [SecretCopy::Unchanged, SecretCopy::Unchanged]);
            let calls = std::mem::take(&mut *calls.lock().unwrap());
            assert_eq!(calls.len(), 4, "{calls:?}");
            assert!(calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");

            owner.replace_registry_secret("other", "r.example", "user", "new").await;
            assert_eq!(copies().await, [SecretCopy::Unchanged, SecretCopy::Updated]);
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_does_not_exist_is_named() {
    in_project("no-secret", async |project| {
        use_pull_secret(project, "no-such-secret", "default");
        project.dockerfile("RUN true\n");
        let error = project.builder().build(project.request()).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().contains("default/no-such-secret"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn no_secret_value_shows_in_pods_logs_events_or_plans() {
    in_project("no-leak", async |project| {
        let (_, username, password) = basic_registry();
        push_to_basic_registry(project, &password).await;
        project.dockerfile("RUN env; sleep 3; cat /proc/*/cmdline | tr '\\0' ' '\nRUN exit 1\n");
        let plan = project.builder().plan(project.request()).await.unwrap();

        let builder = project.builder();
        let building = build_with_events(&builder, project.request());
        let looking = async {
            let pod = project.builder_pod(running).await;
            serde_json::to_string(&pod).unwrap()
        };
        let ((outcome, events), pod) = tokio::join!(building, looking);
        let error = outcome.expect_err("the last step fails");
        let kube_events = kube::Api::<k8s_openapi::api::core::v1::Event>::namespaced(
            project.client.clone(),
            &project.namespace,
        );
        let kube_events =
            serde_json::to_string(&kube_events.list(&ListParams::default()).await.unwrap().items).unwrap();

        let encoded = data_encoding(&format!("{username}:{password}"));
        let plan = serde_json::to_string(&plan).unwrap();
        let everything = [
            ("the plan", plan),
            ("the pod", pod),
            ("our events", format!("{events:?}")),
            ("the error", format!("{error:?}{error}")),
            ("the cluster's events", kube_events),
        ];
        for (place, text) in &everything {
            assert!(!text.is_empty());
            assert!(!text.contains(&password), "the password is in {place}");
            assert!(!text.contains(&encoded), "the encoded password is in {place}");
        }
        assert!(everything[0].1.contains("redacted"), "the plan does show that there is a secret");
    })
    .await;
}

/// Base64, as `auth` entries have it.
fn data_encoding(text: &str) -> String {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_registry_with_a_private_certificate_authority_is_trusted_by_client_and_builder() {
    in_project("private-ca", async |project| {
        let host = variable("GARDEN_TEST_REGISTRY_TLS");
        project.use_registry(&host);
        project.dockerfile("CMD [\"echo\", \"over TLS\"]\n");

        let error = project.builder().build(project.request()).await.expect_err("an unknown authority");
        let told = format!("{error}");
        assert!(told.contains("caCertificate"), "names the option: {told}");

        project.registry().ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
        let image = project.builder().build(project.request()).await.unwrap();
        assert_eq!(project.run(&image.reference.to_string(), &[], None).await, "over TLS\n");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_only_the_cluster_reaches_is_asked_through_the_api_server() {
    in_project("inside", async |project| {
        let host = variable("GARDEN_TEST_REGISTRY_CLUSTER");
        let resolved = tokio::net::lookup_host(&host).await;
        assert!(resolved.is_err(), "this machine must not reach {host} itself, or the test proves nothing");
        project.use_registry(&host);
        project.registry().insecure = true;
        project.dockerfile("RUN echo inside\n");
        let first = project.builder().build(project.request()).await.unwrap();
        assert!(matches!(first.outcome, Outcome::Built { .. }));
        let second = project.builder().build(project.request()).await.unwrap();
        assert_eq!(second.outcome, Outcome::AlreadyExists);
        assert_eq!(second.digest, first.digest);
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_wants_credentials_that_nobody_has_is_left_to_the_builder_to_try() {
    in_project("anonymous", async |project| {
        let (host, ..) = basic_registry();
        project.use_registry(&host);
        project.registry().insecure = true;
        project.dockerfile("RUN true\n");
        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        // Nodes of a cloud may have access that we do not see; here they have none.
        let error = outcome.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
        assert!(error.message().contains("could not be pushed"), "{error}");
        assert!(shown(&events).contains("could not be found out from here"), "{}", shown(&events));
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}
