use garden_build_core::{Event, event_channel};

use super::*;

fn new(sink: EventSink) -> Progress {
    Progress::new(sink, &"registry.example/api:v-1".parse().expect("valid"))
}

fn info(message: &str) -> String {
    serde_json::json!({ "level": "info", "msg": message, "time": "2026-01-01T00:00:00Z" }).to_string()
}

/// What a real executor 1.24.0 printed for a two-stage Dockerfile, shortened.
fn log() -> Vec<String> {
    vec![
        info("Building stage 'busybox:1.36' [idx: '0', base-idx: '-1']"),
        info("Using caching version of cmd: RUN make"),
        info("COPY . /src"),
        info("Taking snapshot of files..."),
        info("RUN make"),
        info("Found cached layer, extracting to filesystem"),
        info("Pushing image to registry.example/api/cache:0123"),
        info("Building stage 'scratch' [idx: '1', base-idx: '-1']"),
        info("RUN false"),
        "compiling".to_owned(),
        "boom".to_owned(),
        info("Pushing image to registry.example/api:v-1"),
    ]
}

async fn shown(progress: Progress, mut stream: garden_build_core::EventStream) -> Vec<String> {
    drop(progress);
    let mut shown = Vec::new();
    while let Some(event) = stream.next().await {
        if !matches!(event, Event::Log { source: LogSource::Builder, .. }) {
            shown.push(event.to_string());
        }
    }
    shown
}

#[tokio::test]
async fn every_instruction_is_a_step_and_cached_ones_say_so() {
    let (sink, stream) = event_channel();
    let mut progress = new(sink);
    for line in log() {
        progress.line(&line);
    }
    assert_eq!(progress.counts(), (1, 2));
    assert_eq!(progress.tail().last().map(String::as_str), Some("boom"));
    progress.end(Some("refused"));
    assert_eq!(
        shown(progress, stream).await,
        [
            "#1 => [busybox:1.36] COPY . /src",
            "#1 => [busybox:1.36] COPY . /src: done",
            "#2 => [busybox:1.36] RUN make",
            "#2 => [busybox:1.36] RUN make: cached",
            "#3 => [scratch] RUN false",
            "#3    compiling",
            "#3    boom",
            "#3 => [scratch] RUN false: done",
            "#4 => Pushing image to registry.example/api:v-1",
            "#4 => Pushing image to registry.example/api:v-1: FAILED: refused",
        ]
    );
}

#[tokio::test]
async fn steps_say_what_they_do_to_programs() {
    let (sink, mut stream) = event_channel();
    let mut progress = new(sink);
    for line in log() {
        progress.line(&line);
    }
    drop(progress);
    let mut kinds = Vec::new();
    while let Some(event) = stream.next().await {
        if let Event::StepStarted { kind, .. } = event {
            kinds.push(kind);
        }
    }
    let of = |stage: &str, text: &str| {
        let mut instruction = Instruction::new(text);
        instruction.stage = Some(stage.to_owned());
        StepKind::Instruction(instruction)
    };
    let expected = [
        of("busybox:1.36", "COPY . /src"),
        of("busybox:1.36", "RUN make"),
        of("scratch", "RUN false"),
        StepKind::Push,
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_warning_is_told_once_and_what_is_for_a_terminal_not_at_all() {
    let (sink, mut stream) = event_channel();
    let mut progress = new(sink);
    let warning = serde_json::json!({ "level": "warning", "msg": "no cache", "time": "" }).to_string();
    for line in [&info("To simulate EOF and exit, press 'Ctrl+D'"), &info("RUN make"), &warning] {
        progress.line(line);
    }
    assert_eq!(progress.tail(), ["no cache"], "an error shows it");
    progress.end(None);
    drop(progress);
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    let [
        Event::StepStarted { step: run, .. },
        Event::Warning { code, step, message, .. },
        Event::StepFinished { .. },
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((*code, *step, message.as_str()), (WarningCode::Builder, Some(*run), "no cache"));
}

#[tokio::test]
async fn the_list_of_flags_does_not_bury_the_error() {
    let (sink, _stream) = event_channel();
    let mut progress = new(sink);
    for line in ["Error: unknown flag: --x", "Usage:", "  executor [flags]", "Flags:"] {
        progress.line(line);
    }
    assert_eq!(progress.tail(), ["Error: unknown flag: --x"]);
}

#[tokio::test]
async fn what_a_run_prints_is_not_taken_for_the_executor_s_words() {
    let (sink, stream) = event_channel();
    let mut progress = new(sink);
    progress.line(&info("RUN ./tool"));
    let printed = [
        "Error: unknown command",
        "Usage:",
        r#"{"level":"warning","msg":"COPY a b","time":"now","caller":"main.go"}"#,
        r#"{"level":"INFO","msg":"RUN again","time":"now"}"#,
    ];
    for line in printed {
        progress.line(line);
    }
    progress.line(&info("RUN true"));
    assert_eq!(progress.counts(), (0, 2));
    assert_eq!(progress.tail(), printed);
    drop(progress);
    let mut stream = stream;
    while let Some(event) = stream.next().await {
        assert!(!matches!(event, Event::Warning { .. }), "{event}");
    }
}

#[tokio::test]
async fn the_tail_is_bounded() {
    let (sink, _stream) = event_channel();
    let mut progress = new(sink);
    for number in 0..1000 {
        progress.line(&number.to_string());
    }
    assert_eq!(progress.tail().len(), TAIL);
    assert_eq!(progress.tail()[0], "980");
}

/// What a RUN can print to look like the executor.
fn made_up(number: usize) -> [String; 4] {
    let long = "x".repeat(3000);
    [
        info(&format!("Using caching version of cmd: RUN {number} {long}")),
        info(&format!("RUN {number} {long}")),
        info(&format!("Building stage '{number} {long}' [idx: '0', base-idx: '-1']")),
        serde_json::json!({ "level": "error", "msg": format!("{number} {long}"), "time": "" }).to_string(),
    ]
}

#[tokio::test]
async fn records_that_a_run_makes_up_do_not_fill_the_memory_of_who_does_not_look() {
    let (sink, mut stream) = event_channel();
    let mut progress = new(sink);
    for number in 0..2 * MOST_STEPS {
        for line in made_up(number) {
            progress.line(&line);
        }
    }
    drop(progress);
    let (mut bytes, mut steps) = (0, 0);
    while let Some(event) = stream.next().await {
        bytes += event.to_string().len();
        steps += usize::from(matches!(event, Event::StepStarted { .. }));
    }
    assert_eq!(steps, MOST_STEPS);
    assert!(bytes < 20 << 20, "{bytes}");
}

#[tokio::test]
async fn what_a_run_says_of_its_cache_is_not_kept_without_end() {
    let (sink, _stream) = event_channel();
    let mut progress = new(sink);
    for number in 0..2 * MOST_STEPS {
        progress.line(&made_up(number)[0]);
    }
    assert!(progress.from_cache.iter().map(String::len).sum::<usize>() < 4 << 20);
}

#[tokio::test]
async fn once_an_instruction_has_begun_nothing_undoes_that() {
    let (sink, _stream) = event_channel();
    let mut progress = new(sink);
    progress.line(&info("Building stage 'busybox' [idx: '0', base-idx: '-1']"));
    assert!(!progress.has_begun());
    progress.line(&info("RUN make"));
    progress.line(&info("Building stage 'made up' [idx: '0', base-idx: '-1']"));
    assert!(progress.has_begun() && progress.instruction().is_none());
}
