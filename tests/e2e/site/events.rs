//! Following a build, and what its events say.

use garden_build::{
    Build, BuildRequest, Builder, BuiltImage, Error, Event, EventSink, Outcome, event_channel,
};

use super::PATIENCE;

/// Builds and returns the result with every event, as text and as data.
pub(crate) async fn build_with_events(
    builder: &Builder,
    request: BuildRequest,
) -> (Result<BuiltImage, Error>, Vec<Event>) {
    let mut build = builder.build(request);
    let mut events = Vec::new();
    while let Some(event) = build.next_event().await {
        events.push(event);
    }
    (build.await, events)
}

/// Follows a build until one of its events contains `text`, and returns what it has told so far.
pub(crate) async fn follow_until(build: &mut Build, text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let told = tokio::time::timeout(PATIENCE, read_until(build, text, &mut events));
    let told = told.await.unwrap_or(false);
    assert!(told, "no event tells of `{text}`:\n{}", shown(&events));
    events
}

/// Follows a build until one of its events contains `text`. Returns `false` if it ends before.
pub(crate) async fn follow_while_it_runs(build: &mut Build, text: &str) -> bool {
    read_until(build, text, &mut Vec::new()).await
}

async fn read_until(build: &mut Build, text: &str, events: &mut Vec<Event>) -> bool {
    while let Some(event) = build.next_event().await {
        let found = event.to_string().contains(text);
        events.push(event);
        if found {
            return true;
        }
    }
    false
}

/// Follows a build to its end, and returns what it has told.
pub(crate) async fn follow(build: &mut Build) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = build.next_event().await {
        events.push(event);
    }
    events
}

/// The lines that steps and builders have printed.
pub(crate) fn log_lines(events: &[Event]) -> impl Iterator<Item = &str> {
    events.iter().filter_map(|event| match event {
        Event::Log { line, .. } => Some(line.as_str()),
        _ => None,
    })
}

pub(crate) fn shown(events: &[Event]) -> String {
    events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// How much of the context a `BuildKit` daemon was sent in a build: files, bytes, and entries of the list.
pub(crate) fn sent(events: &[Event]) -> [u64; 3] {
    let numbers = events.iter().find_map(|event| match event {
        Event::Log { line, .. } => {
            let numbers = line.strip_prefix("sent ")?;
            numbers
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<_>>()
                .try_into()
                .ok()
        }
        _ => None,
    });
    numbers.unwrap_or_else(|| panic!("nothing is told of the context:\n{}", shown(events)))
}

/// How many bytes kaniko's context service was sent in a build.
pub(crate) fn sent_to_service(events: &[Event]) -> u64 {
    let sent = events.iter().filter_map(|event| match event {
        Event::Log { line, .. } => line.strip_prefix("sent ")?.strip_suffix(" bytes")?.parse::<u64>().ok(),
        _ => None,
    });
    sent.sum()
}

/// How many steps came from a cache, and how many were run.
pub(crate) fn steps(image: &BuiltImage) -> (usize, usize) {
    match image.outcome {
        Outcome::Built { steps_cached, steps_run, .. } => (steps_cached, steps_run),
        ref other => panic!("not built: {other:?}"),
    }
}

/// The messages of all warnings.
pub(crate) fn warnings(events: &[Event]) -> Vec<&str> {
    let mut messages = Vec::new();
    for event in events {
        if let Event::Warning { message, .. } = event {
            messages.push(message.as_str());
        }
    }
    messages
}

/// Returns a sink whose events are printed.
pub(crate) fn printed() -> EventSink {
    let (sink, mut events) = event_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            println!("{event}");
        }
    });
    sink
}
