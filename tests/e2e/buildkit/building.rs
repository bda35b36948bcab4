use garden_build::{Event, Outcome};

use crate::registry;
use crate::site::{Project, build_with_events, in_project, shown, variable};

/// An application whose Dockerfile has two stages.
fn two_stage_app(project: &Project) {
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
    in_project("bk-builds", async |project| {
        project.buildkit();
        two_stage_app(project);
        let (image, events) =
            build_with_events(&project.builder(), project.request().build_arg("GREETING", "good day")).await;
        let shown = shown(&events);
        let image = image.unwrap_or_else(|error| panic!("{error:?}\n{shown}"));
        eprintln!("{shown}");

        let host = variable("GARDEN_TEST_REGISTRY");
        let in_registry =
            registry::digest(&host, image.reference.repository(), image.reference.tag().unwrap()).await;
        assert_eq!(in_registry, Some(image.digest.to_string()));
        assert!(matches!(image.outcome, Outcome::Built { steps_run: 4, .. }), "{:?}", image.outcome);
        let printed = project.run(&image.reference.at(image.digest), &[], None).await;
        assert_eq!(printed, "good day from the first stage\nthe application\n");
        let started = events.iter().filter(|event| matches!(event, Event::StepStarted { .. })).count();
        let finished =
            events.iter().filter(|event| matches!(event, Event::StepFinished { error: None, .. })).count();
        assert_eq!(started, finished, "every step ends, and well:\n{shown}");
    })
    .await;
}
