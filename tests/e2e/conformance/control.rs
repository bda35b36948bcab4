//! What the caller sees of a build, and how it ends one.

use std::time::{Duration, Instant};

use garden_build::{ErrorKind, Event, LogSource, StepId};

use super::{Case, Mode, Seen};
use crate::site::{WITHIN_SECONDS, follow_until, shown, warnings};

pub(super) async fn events(case: &mut Case<'_>) -> Seen {
    // A daemon that tests share has not run this step before.
    let namespace = &case.project.namespace;
    case.project.dockerfile(&format!("RUN echo printed $((1 + 1)) in {namespace}\nCOPY Dockerfile /\n"));
    let (_, events) = case.build_and_watch(case.request()).await;
    let shown = shown(&events);
    let named = |name: &str| {
        let named = events.iter().find_map(|event| match event {
            Event::StepStarted { step, name: started, .. } if started.contains(name) => Some(*step),
            _ => None,
        });
        named.unwrap_or_else(|| panic!("no step is named {name}:\n{shown}"))
    };
    let run = named("RUN echo printed");
    named("COPY Dockerfile /");
    let printed = format!("printed 2 in {namespace}");
    // The executor's own words and what commands print reach the log of a pod by ways of their own, so on a busy node either may come
    // first: the step may not have begun yet, or the next one may have.
    let is_of_step = |step: Option<StepId>| step == Some(run) || case.mode == Mode::Kaniko;
    let is_printed = |event: &Event| matches!(event, Event::Log { step, source: LogSource::Output, line, .. } if *line == printed && is_of_step(*step));
    assert!(events.iter().any(is_printed), "{shown}");
    let started = events.iter().filter(|event| matches!(event, Event::StepStarted { .. })).count();
    let finished =
        events.iter().filter(|event| matches!(event, Event::StepFinished { error: None, .. })).count();
    assert_eq!(started, finished, "every step ends, and well:\n{shown}");
    assert_eq!(warnings(&events), Vec::<&str>::new());
    Seen::Works
}

pub(super) async fn cancel(case: &mut Case<'_>) -> Seen {
    // Something more that might be left behind.
    case.project.create_registry_secret("pull", "registry.example", "user", "password").await;
    case.project.use_pull_secret("pull");
    case.project.dockerfile(&format!("RUN echo begun; {}\n", case.project.long_sleep()));
    let mut build = case.builder().build(case.request());
    follow_until(&mut build, "   begun").await;
    let cancelled = Instant::now();
    let error = build.cancel().await.expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(cancelled.elapsed() < WITHIN_SECONDS, "took {:?}", cancelled.elapsed());
    case.mode.assert_nothing_goes_on(case.project).await;

    // One that is dropped does the same by itself, and a program can wait for that.
    let builder = case.builder();
    let mut build = builder.build(case.request());
    follow_until(&mut build, "   begun").await;
    drop(build);
    builder.settled().await;
    case.mode.assert_nothing_goes_on(case.project).await;

    case.project.dockerfile("RUN echo another\n");
    case.build(case.request()).await;
    Seen::Works
}

pub(super) async fn timeout(case: &mut Case<'_>) -> Seen {
    // A daemon that stays is there afterwards.
    case.project.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    case.build(case.request()).await;

    let limit = Duration::from_secs(4);
    case.project.dockerfile(&format!("RUN {}\n", case.project.long_sleep()));
    let started = Instant::now();
    let error = case.fail(case.request().timeout(limit)).await;
    let took = started.elapsed();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.message().contains("4 s"), "{error}");
    assert!((limit..limit + WITHIN_SECONDS).contains(&took), "took {took:?}");
    case.mode.assert_nothing_goes_on(case.project).await;
    Seen::Works
}
