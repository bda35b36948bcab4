use garden_build::{BuildRequest, Builder, Event, Outcome, Stream};

use crate::site::{Project, build_with_events, in_project, recording_client, shown, variable};
use crate::{proxy, registry};

/// An application whose Dockerfile has two stages.
pub(crate) fn two_stage_app(project: &Project) {
    let base = variable("GARDEN_TEST_BASE_IMAGE");
    project.file(
        "Dockerfile",
        format!(
            "FROM {base} AS tools\nARG GREETING=hello\nRUN echo \"$GREETING from the first stage\" > /greeting\n\
             FROM {base} AS app\nRUN echo step-that-is-cached\nCOPY --from=tools /greeting /greeting\nCOPY app.txt /app.txt\n\
             CMD [\"cat\", \"/greeting\", \"/app.txt\"]\n"
        ),
    );
    project.file("app.txt", "the application\n");
}

#[tokio::test]
async fn an_image_is_built_pushed_and_runs_in_a_pod() {
    in_project("builds", async |project| {
        two_stage_app(project);
        let (image, events) =
            build_with_events(&project.builder(), project.request().build_arg("GREETING", "good day")).await;
        let image = image.unwrap();

        let host = variable("GARDEN_TEST_REGISTRY");
        let in_registry =
            registry::digest(&host, image.reference.repository(), image.reference.tag().unwrap()).await;
        assert_eq!(in_registry, Some(image.digest.to_string()));
        assert!(matches!(image.outcome, Outcome::Built { steps_run: 4.., .. }), "{:?}", image.outcome);

        let printed = project.run(&image.reference.at(image.digest), &[], None).await;
        assert_eq!(printed, "good day from the first stage\nthe application\n");

        let shown = shown(&events);
        for expected in ["COPY app.txt /app.txt", "step-that-is-cached", "send the build context"] {
            assert!(shown.contains(expected), "{expected} is not among the events:\n{shown}");
        }
        let started = events.iter().filter(|event| matches!(event, Event::StepStarted { .. })).count();
        let finished =
            events.iter().filter(|event| matches!(event, Event::StepFinished { error: None, .. })).count();
        assert_eq!(started, finished, "every step ends, and well:\n{shown}");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_unchanged_build_creates_nothing_and_a_changed_one_uses_the_cache() {
    in_project("rebuilds", async |project| {
        two_stage_app(project);
        let first = project.builder().build(project.request()).await.unwrap();

        let (client, calls) = recording_client().await;
        let builder = Builder::with_client(project.provider.clone(), client).unwrap();
        let second = builder.build(project.request()).await.unwrap();
        assert_eq!(second.outcome, Outcome::AlreadyExists);
        assert_eq!((second.reference, second.digest), (first.reference.clone(), first.digest));
        let calls = std::mem::take(&mut *calls.lock().unwrap());
        assert!(calls.iter().all(|call| call.starts_with("GET ")), "{calls:?}");
        eprintln!("unchanged: {:?}, {} API calls: {calls:?}", second.duration, calls.len());

        project.file("app.txt", "the application, changed\n");
        let third = builder.build(project.request()).await.unwrap();
        assert_ne!(third.reference, first.reference);
        assert!(matches!(third.outcome, Outcome::Built { steps_cached: 2.., .. }), "{:?}", third.outcome);
        let printed = project.run(&third.reference.to_string(), &[], None).await;
        assert_eq!(printed, "hello from the first stage\nthe application, changed\n");
    })
    .await;
}

#[tokio::test]
async fn a_target_stage_is_built_alone() {
    in_project("target", async |project| {
        two_stage_app(project);
        let image = project.builder().build(project.request().target("tools")).await.unwrap();
        let printed = project.run(&image.reference.to_string(), &["ls", "/greeting"], None).await;
        assert_eq!(printed, "/greeting\n");
        let whole = project.builder().status(project.request()).await.unwrap();
        assert_eq!(whole.existing, None, "the whole image is another version");
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_created() {
    in_project("ensures", async |project| {
        let namespace = format!("{}-new", project.namespace);
        project.provider.namespace.name.clone_from(&namespace);
        project.provider.namespace.labels.insert("team".to_owned(), "e2e".to_owned());
        project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        project.builder().build(project.request()).await.unwrap();
        let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(project.client.clone());
        let created = namespaces.get(&namespace).await.unwrap();
        assert_eq!(created.metadata.labels.unwrap().get("team").map(String::as_str), Some("e2e"));
        namespaces.delete(&namespace, &kube::api::DeleteParams::default()).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_builds_at_once_give_ten_images() {
    in_project("ten", async |project| {
        project.dockerfile("ARG NUMBER\nRUN echo number $NUMBER > /number\nCMD [\"cat\", \"/number\"]\n");
        let builder = project.builder();
        let builds = (0..10).map(|number| {
            let request = BuildRequest::new(format!("app-{number}"), project.path());
            builder.build(request.build_arg("NUMBER", number.to_string()))
        });
        let images = futures::future::try_join_all(builds).await.unwrap();
        let host = variable("GARDEN_TEST_REGISTRY");
        for image in &images {
            let in_registry =
                registry::digest(&host, image.reference.repository(), image.reference.tag().unwrap()).await;
            assert_eq!(in_registry, Some(image.digest.to_string()));
        }
        let printed = project.run(&images[7].reference.to_string(), &[], None).await;
        assert_eq!(printed, "number 7\n");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_build_goes_on_when_every_connection_to_the_cluster_is_lost() {
    in_project("reconnects", async |project| {
        project
            .dockerfile("RUN i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo line $i; usleep 20000; done\n");
        let proxied = proxy::client_cut_after(u64::MAX).await;
        let builder = Builder::with_client(project.provider.clone(), proxied.client.clone()).unwrap();
        let mut build = builder.start(project.request()).await.unwrap();
        let mut lines = Vec::new();
        while let Some(event) = build.next_event().await {
            if let Event::Log { stream: Stream::Output, line, .. } = event {
                lines.push(line);
                if lines.len() % 50 == 20 {
                    proxied.cut_all();
                }
            }
        }
        build.await.unwrap();
        assert!(proxied.cuts() >= 2);
        let expected: Vec<String> = (1..=300).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected, "no gaps and no repeats");
        assert!(project.leftovers().await.is_empty());
    })
    .await;
}
