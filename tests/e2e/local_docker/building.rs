//! What conformance does not ask of every mode.

use garden_build::{BuildRequest, Outcome};

use crate::site::docker_daemon::{old, shared};
use crate::site::registry::delete;
use crate::site::{build_with_events, in_project, sent, shown, steps, warnings};

const STEPS: &str = "COPY . /app\nRUN cat /app/a.txt /app/b.txt > /all\nCMD [\"cat\", \"/all\"]\n";

#[tokio::test]
async fn with_buildkit_only_what_changed_is_sent_and_run() {
    in_project("docker-buildkit", async |project| {
        project.dockerfile(STEPS);
        project.file("a.txt", "a\n");
        project.file("b.txt", "b\n");
        // The daemon knows the others from earlier runs.
        project.file("namespace.txt", &project.namespace);
        let builder = project.builder_on(&shared());
        let (built, events) = build_with_events(&builder, project.request()).await;
        let image = built.unwrap();
        assert_eq!(steps(&image), (0, 2), "{}", shown(&events));
        assert!(warnings(&events).is_empty(), "{}", shown(&events));
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "a\nb\n");

        project.file("b.txt", "changed\n");
        let (built, events) = build_with_events(&builder, project.request()).await;
        let image = built.unwrap();
        assert_eq!(sent(&events)[..2], [1, 8], "{}", shown(&events));
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "a\nchanged\n");
    })
    .await;
}

#[tokio::test]
async fn the_classic_builder_caches_each_step() {
    in_project("docker-classic", async |project| {
        project.dockerfile(
            "RUN echo base > /base\nCOPY a.txt /\nRUN cat /base /a.txt > /all\nCMD [\"cat\", \"/all\"]\n",
        );
        project.file("a.txt", "a\n");
        let builder = project.builder_on(&shared().without_buildkit());
        let (built, events) = build_with_events(&builder, project.request().no_cache(true)).await;
        let image = built.unwrap();
        assert_eq!(steps(&image), (0, 4), "{}", shown(&events));
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "base\na\n");

        project.file("a.txt", "changed\n");
        let image = builder.build(project.request()).await.unwrap();
        assert_eq!(steps(&image), (1, 3));
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "base\nchanged\n");
    })
    .await;
}

#[tokio::test]
async fn a_daemon_of_years_ago_builds_with_both_of_its_builders() {
    in_project("docker-old", async |project| {
        project.dockerfile(STEPS);
        project.file("a.txt", "a\n");
        project.file("b.txt", "b\n");
        for daemon in [old(), old().without_buildkit()] {
            let builder = project.builder_on(&daemon);
            let (built, events) = build_with_events(&builder, project.request().force(true)).await;
            let image = built.unwrap_or_else(|error| panic!("{error:?}\n{}", shown(&events)));
            assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "a\nb\n");
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_that_docker_has_is_pushed_without_building_it_again() {
    in_project("docker-has", async |project| {
        project.dockerfile("RUN date +%N > /when\n");
        let builder = project.builder_on(&shared());
        let image = builder.build(project.request()).await.unwrap();
        let again = builder.build(project.request()).await.unwrap();
        assert_eq!((&again.outcome, again.digest), (&Outcome::AlreadyExists, image.digest));

        delete(&image).await;
        let (built, events) = build_with_events(&builder, project.request()).await;
        let pushed = built.unwrap();
        assert_eq!(steps(&pushed), (0, 0), "{}", shown(&events));
        assert_eq!(pushed.digest, image.digest, "it is the same image");
    })
    .await;
}

#[tokio::test]
async fn a_dockerfile_that_the_context_lacks_does_not_get_into_the_image() {
    in_project("docker-dockerfile", async |project| {
        project.dockerfile("COPY . /app\nCMD [\"find\", \"/app\"]\n");
        project.file(".dockerignore", "Dockerfile\n.dockerignore\n");
        project.file("a.txt", "a\n");
        for daemon in [shared(), shared().without_buildkit()] {
            let image = project.builder_on(&daemon).build(project.request().force(true)).await.unwrap();
            let found = project.run(&image.reference.at(image.digest), &[], None).await;
            let mut found: Vec<_> = found.lines().collect();
            found.sort_unstable();
            assert_eq!(found, ["/app", "/app/a.txt"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_secret_reaches_a_step_and_nothing_else() {
    in_project("docker-secret", async |project| {
        project.dockerfile("RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /length\nCMD [\"cat\", \"/length\"]\n");
        let builder = project.builder_on(&shared());
        let request: BuildRequest = project.request().secret("token", "tell-nobody");
        let (built, events) = build_with_events(&builder, request).await;
        let image = built.unwrap();
        assert_eq!(project.run(&image.reference.at(image.digest), &[], None).await, "11\n");
        assert!(!shown(&events).contains("tell-nobody"));
        let contents = crate::site::registry::contents(&image.reference).await;
        assert!(contents.iter().all(|content| !String::from_utf8_lossy(content).contains("tell-nobody")));
    })
    .await;
}
