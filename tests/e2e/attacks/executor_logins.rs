//! A step of the Dockerfile reads what kaniko's executor has to log in with.

use garden_build::config::SecretRef;

use crate::site::{build_with_events, in_project, shown, variable};

#[tokio::test]
async fn a_step_finds_no_login_that_its_build_has_no_need_of() {
    in_project("logins", async |project| {
        let host = variable("GARDEN_TEST_REGISTRY");
        for (name, registry) in [("own", host.as_str()), ("others", "production.example")] {
            project.create_registry_secret(name, registry, "user", &format!("of-{name}")).await;
            let secret = SecretRef::new(name).in_namespace(&project.namespace);
            project.provider.image_pull_secrets.push(secret);
        }
        // The Dockerfile itself, which is there as well, does not have the name in one piece.
        project.dockerfile(
            "RUN sed 's/^/config: /' /kaniko/.docker/config.json; \
             find /kaniko /run -type f -exec grep -l production''.example {} ';' | sed 's/^/found: /'; true\n",
        );
        let (outcome, events) = build_with_events(&project.builder(), project.request()).await;
        let log = shown(&events);
        outcome.unwrap_or_else(|error| panic!("{error:?}\n{log}"));
        assert!(log.contains("config: {\"auths\":{") && log.contains(&host), "the step has looked:\n{log}");
        let found: Vec<_> = log
            .lines()
            .filter(|line| line.trim_start().starts_with("found: ") || line.trim_start().starts_with("config: "))
            .collect();
        assert!(!found.iter().any(|line| line.contains("production") || line.contains("found: ")), "{found:?}");
    })
    .await;
}
