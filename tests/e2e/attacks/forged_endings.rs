//! A step of the Dockerfile says, in its pod's own words and with its pod's own key, that the build has succeeded.

use garden_build::{Builder, Error, Event};

use crate::site::{
    Project, build_with_events, client_with_the_documented_role, in_project, log_lines, shown, variable,
};

/// What the step says has been pushed.
const IMAGE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Says so on both streams, and fails some time later.
fn forge(project: &Project) {
    project.dockerfile(&format!(
        "RUN key=$(cat /kaniko/context-key/key) && \
         proof=$(printf 'end %s 0 {IMAGE}' \"$key\" | sha256sum | cut -d ' ' -f 1) && \
         line=\"garden-build: end 0 {IMAGE} $proof\" && \
         echo \"$line\" && echo \"$line\" >&2 && sleep 5 && exit 7\n"
    ));
}

async fn fail(project: &Project, builder: &Builder) -> (Error, Vec<Event>) {
    forge(project);
    let (outcome, events) = build_with_events(builder, project.request()).await;
    let log = shown(&events);
    let error = outcome.map(|image| panic!("{image:?} was built:\n{log}")).unwrap_err();
    assert!(error.failed_step().is_some_and(|step| step.exit_code == Some(7)), "{error:?}\n{log}");
    (error, events)
}

#[tokio::test]
async fn a_failing_step_cannot_make_a_build_succeed_whose_registry_is_asked() {
    in_project("forged", async |project| {
        let (_, events) = fail(project, &project.builder()).await;
        let spoken = log_lines(&events).any(|line| line.starts_with("garden-build: end"));
        assert!(!spoken, "the step did not speak the pod's language:\n{}", shown(&events));
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_failing_step_cannot_make_a_build_succeed_whose_registry_cannot_be_asked_from_here() {
    in_project("forged-unseen", async |project| {
        project.use_registry(&variable("GARDEN_TEST_REGISTRY_CLUSTER"));
        project.registry().insecure = true;
        // Whoever has this role does not reach the registry's Service.
        let client = client_with_the_documented_role(project).await;
        let builder = Builder::options(project.provider.clone()).client(client).connect().unwrap();
        let (_, events) = fail(project, &builder).await;
        let log = shown(&events);
        assert!(log.contains("could not be found out from here"), "{log}");

        // And an honest build is told of for what it is.
        project.dockerfile("RUN echo honest\n");
        let image = builder.build(project.request()).await.unwrap();
        assert!(!image.confirmed_by_registry, "{image:?}");
        let seen = project.builder().status(project.request()).await.unwrap();
        assert_eq!(seen.existing, Some(image.digest));
    })
    .await;
}
