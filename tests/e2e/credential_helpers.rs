//! Credential helpers: on the client for both builders, and in the daemon's image.

use garden_build::{Event, Outcome};
use kube::ResourceExt;
use kube::api::AttachParams;
use serde_json::json;

use crate::site::credential_helper::{
    Private, asked, encrypted, plain, program, with_helper_on_the_client, write_program,
};
use crate::site::own_process::in_own_process;
use crate::site::{Project, build_with_events, in_project, running, shown, variable, warnings};

/// Has a Secret name helpers, which may be run here for all registries of the tests.
async fn use_helper(project: &mut Project, config: serde_json::Value) {
    project.create_docker_config_secret("helper", &config).await;
    project.use_pull_secret("helper");
    project.provider.credential_helpers_for =
        vec![plain().host, encrypted().host, variable("GARDEN_TEST_REGISTRY")];
}

#[tokio::test]
async fn a_secret_has_no_helper_run_on_the_client_unless_that_is_allowed() {
    with_helper_on_the_client(
        in_own_process!(a_secret_has_no_helper_run_on_the_client_unless_that_is_allowed),
        async |helper| {
            in_project("helper-refused", async |project| {
                use_helper(project, json!({ "credsStore": "client" })).await;
                // The registry that is pushed to is open. The Dockerfile names another one, for which the helper has a password.
                project.provider.credential_helpers_for = vec![variable("GARDEN_TEST_REGISTRY")];
                project.file(
                    "Dockerfile",
                    format!(
                        "FROM {}/private/busybox:1.36 AS base\nFROM scratch\nCOPY Dockerfile /\n",
                        plain().host
                    ),
                );
                let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
                assert!(!asked(helper).contains(&plain().host), "{:?}", asked(helper));
                assert!(!format!("{events:?} {outcome:?}").contains(&plain().password));
                let told = warnings(&events);
                assert!(
                    told.iter()
                        .any(|text| text.contains("`client`") && text.contains("is not run on this machine")),
                    "{told:?}"
                );

                project.provider.credential_helpers_for = Vec::new();
                let before = asked(helper).len();
                let (_, _) = build_with_events(&project.builder(), project.request().force(true)).await;
                assert_eq!(asked(helper).len(), before, "none at all");
            })
            .await;
        },
    )
    .await;
}

fn push_over_tls(project: &mut Project) {
    project.use_registry(&encrypted().host);
    project.registry().ca_certificate = Some(variable("GARDEN_TEST_REGISTRY_TLS_CA").into());
}

/// Runs what was pushed, with credentials from elsewhere.
async fn run(project: &Project, registry: &Private, image: &str) -> String {
    project.create_registry_secret("run", &registry.host, &registry.username, &registry.password).await;
    project.run(image, &[], Some("run")).await
}

#[tokio::test]
async fn kaniko_builds_with_what_a_helper_on_the_client_knows() {
    with_helper_on_the_client(
        in_own_process!(kaniko_builds_with_what_a_helper_on_the_client_knows),
        async |helper| {
            in_project("helper-kaniko", async |project| {
                let registry = plain();
                project.use_registry(&registry.host);
                project.registry().insecure = true;
                use_helper(project, json!({ "credHelpers": { &registry.host: "client" } })).await;
                project.file(
                    "Dockerfile",
                    format!("FROM {}/private/busybox:1.36\nCMD [\"echo\", \"hi\"]\n", registry.host),
                );
                let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
                let image = outcome.unwrap();
                assert!(matches!(image.outcome, Outcome::Built { .. }));
                assert_eq!(warnings(&events), Vec::<&str>::new());
                assert!(!format!("{events:?}").contains(&registry.password));
                assert_eq!(run(project, &registry, &image.reference.to_string()).await, "hi\n");
                let again = project.builder().build(project.request()).await.unwrap();
                assert_eq!(again.outcome, Outcome::AlreadyExists, "the client has access, too");
                let asked = asked(helper);
                assert!(
                    !asked.is_empty() && asked.iter().all(|server| *server == registry.host),
                    "{asked:?}"
                );
                assert!(project.leftovers().await.is_empty());
            })
            .await;
        },
    )
    .await;
}

#[tokio::test]
async fn buildkit_builds_with_what_a_store_on_the_client_knows_when_it_pushes() {
    with_helper_on_the_client(
        in_own_process!(buildkit_builds_with_what_a_store_on_the_client_knows_when_it_pushes),
        async |helper| {
            in_project("helper-buildkit", async |project| {
                push_over_tls(project);
                let base = plain();
                let mut registry = garden_build::config::DeploymentRegistry::new(&base.host).unwrap();
                registry.insecure = true;
                project.buildkit().registries = vec![registry];
                use_helper(project, json!({ "auths": {}, "credsStore": "client" })).await;
                let instructions = "RUN echo under way; sleep 3\nCMD [\"echo\", \"hi\"]\n";
                project
                    .file("Dockerfile", format!("FROM {}/private/busybox:1.36\n{instructions}", base.host));

                // The password for the push is right only when the build has got as far as its step.
                let expired = Private { password: "expired".to_owned(), ..encrypted() };
                write_program(helper, &program(&[plain(), expired]));
                let mut build = project.builder().build(project.request().force(true));
                let mut events = Vec::new();
                while let Some(event) = build.next_event().await {
                    if matches!(&event, Event::Log { line, .. } if line == "under way") {
                        write_program(helper, &program(&[plain(), encrypted()]));
                    }
                    events.push(event);
                }
                let image = build.await.unwrap();
                assert_eq!(run(project, &encrypted(), &image.reference.to_string()).await, "hi\n");
                assert_eq!(warnings(&events), Vec::<&str>::new());
                assert!(!format!("{events:?}").contains(&base.password), "{}", shown(&events));
                assert!(asked(helper).contains(&base.host) && asked(helper).contains(&encrypted().host));
                let again = project.builder().build(project.request()).await.unwrap();
                assert_eq!(again.outcome, Outcome::AlreadyExists);
            })
            .await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_helper_that_only_the_daemon_has_is_asked_there_and_one_that_nobody_has_is_named() {
    in_project("helper-inside", async |project| {
        push_over_tls(project);
        project.buildkit();
        use_open_base_registry(project);
        use_helper(project, json!({ "credHelpers": { encrypted().host: "inside" } })).await;
        project.dockerfile("CMD [\"echo\", \"hi\"]\n");

        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        let error = outcome.expect_err("nobody has the helper");
        let told = format!("{error} {}", shown(&events));
        for part in [
            &format!("Secret {}/helper leaves {}", project.namespace, encrypted().host),
            "which is not installed here, and is not installed in the daemon's image either",
            "install `docker-credential-inside` here",
        ] {
            assert!(error.message().contains(part), "{told}");
        }

        install_in_the_daemon(project, "inside", &program(&[encrypted()])).await;
        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        let image = outcome.unwrap();
        assert!(matches!(image.outcome, Outcome::Built { .. }));
        // The client has no access, and says so.
        assert!(warnings(&events).iter().any(|warning| warning.contains("is the builder's word only")));
        assert!(!format!("{events:?}").contains(&encrypted().password));
        assert_eq!(run(project, &encrypted(), &image.reference.to_string()).await, "hi\n");

        // One that fails is quoted.
        install_in_the_daemon(project, "inside", "#!/bin/sh\necho 'no role' >&2\nexit 1\n").await;
        let error = project.builder().build(project.request().force(true)).await.expect_err("refused");
        assert!(error.message().contains("in the daemon's pod failed: "), "{error}");
        assert!(error.message().contains("no role"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn with_kaniko_and_an_open_registry_a_helper_that_fails_on_the_client_is_a_warning() {
    with_helper_on_the_client(
        in_own_process!(with_kaniko_and_an_open_registry_a_helper_that_fails_on_the_client_is_a_warning),
        async |helper| {
            in_project("helper-fails", async |project| {
                write_program(helper, "#!/bin/sh\necho 'the vault is locked'\nexit 1\n");
                let host = variable("GARDEN_TEST_REGISTRY");
                // The registry is open, so neither side needs what the store has.
                use_helper(
                    project,
                    json!({ "credsStore": "client", "credHelpers": { "r.example": "absent" } }),
                )
                .await;
                project.dockerfile("RUN true\n");
                let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
                outcome.unwrap();
                let told = warnings(&events);
                assert!(
                    told.iter().any(|text| text.contains("the vault is locked") && text.contains(&host)),
                    "{told:?}"
                );
            })
            .await;
        },
    )
    .await;
}

/// Declares the registry of the testbed's base image to the daemon.
fn use_open_base_registry(project: &mut Project) {
    let mut registry =
        garden_build::config::DeploymentRegistry::new(&variable("GARDEN_TEST_REGISTRY")).unwrap();
    registry.insecure = true;
    project.buildkit().registries.push(registry);
}

/// Puts a helper where an image of one's own would have it.
async fn install_in_the_daemon(project: &Project, name: &str, script: &str) {
    let daemon = project.builder_pod(running).await.name_any();
    let file = format!("/usr/bin/docker-credential-{name}");
    let command = ["sh", "-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"", &file, script];
    let mut writing = project.pods().exec(&daemon, command, &AttachParams::default()).await.unwrap();
    let status = writing.take_status().unwrap().await.expect("how it ended");
    assert_eq!(status.status.as_deref(), Some("Success"), "{status:?}");
}
