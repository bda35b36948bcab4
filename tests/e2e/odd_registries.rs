//! Registries that refuse what others accept, and what answers in the place of one. Real builders push there.

use garden_build::{Builder, ErrorKind, Outcome};

use crate::site::registry_front::{Rule, for_pods, start};
use crate::site::{Project, build_with_events, docker_daemon, in_project, shown};

/// Makes another image of the same version, whose tag exists.
async fn assert_tag_stays(project: &Project, builder: &Builder) {
    let again = project.request().force(true).no_cache(true);
    let (refused, events) = build_with_events(builder, again).await;
    let refused = refused.expect_err("the tag stands for another image");
    assert_eq!(refused.kind(), ErrorKind::PushFailed, "{refused:?}\n{}", shown(&events));
    let hint = refused.hint().unwrap_or_default();
    assert!(hint.contains("lets nobody give a tag that exists to another image"), "{refused:?}");
}

#[tokio::test]
async fn a_tag_that_may_not_change_is_named_as_the_cause() {
    in_project("immutable", async |project| {
        // The testbed's Docker daemon takes no other registry without TLS, so builders in the cluster only.
        project.use_registry(&for_pods(start(Rule::ImmutableTags).await));
        project.registry().insecure = true;
        // The time at which it was built makes it another image each time.
        project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        let (first, events) = build_with_events(&project.builder(), project.request()).await;
        let first = first.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
        assert!(matches!(first.outcome, Outcome::Built { .. }), "{first:?}");

        assert_tag_stays(project, &project.builder()).await;
        project.buildkit();
        assert_tag_stays(project, &project.builder()).await;
    })
    .await;
}

#[tokio::test]
async fn a_login_page_in_the_place_of_a_registry_is_named_before_anything_is_built() {
    in_project("login-page", async |project| {
        let host = format!("127.0.0.1:{}", start(Rule::LoginPage).await);
        project.use_registry(&host);
        project.registry().insecure = true;
        project.dockerfile("RUN true\n");
        let kaniko = project.builder();
        project.buildkit();
        let buildkit = project.builder();
        let docker = project.builder_on(&docker_daemon::shared());
        for builder in [kaniko, buildkit, docker] {
            let (refused, events) = build_with_events(&builder, project.request()).await;
            let refused = refused.expect_err("a page is no image");
            assert!(refused.message().contains(&host), "{refused:?}");
            assert!(refused.message().contains("a web page instead of a manifest"), "{refused:?}");
            assert!(!shown(&events).contains("RUN true"), "{}", shown(&events));
        }
        project.assert_nothing_left().await;
    })
    .await;
}
