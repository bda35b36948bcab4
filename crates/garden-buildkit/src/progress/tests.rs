use std::time::SystemTime;

use garden_build_core::{Event, WarningData, event_channel};

use super::followed::TAIL;
use super::*;
use crate::client::file_sync::batch;
use crate::client::{CONTEXT, Counter, DOCKERFILE};

fn state(digest: &str, name: &str) -> StepState {
    let now = Some(SystemTime::UNIX_EPOCH);
    StepState {
        digest: digest.to_owned(),
        name: name.to_owned(),
        inputs: Vec::new(),
        cached: false,
        started: now,
        completed: None,
        error: None,
    }
}

fn ended(digest: &str, name: &str) -> StepState {
    StepState { completed: Some(SystemTime::UNIX_EPOCH), ..state(digest, name) }
}

fn output(step: &str, text: &str) -> Update {
    Update::Output { step: step.to_owned(), is_error: false, bytes: text.as_bytes().to_vec() }
}

async fn shown(updates: Vec<Update>) -> (Vec<String>, (usize, usize)) {
    let (sink, mut stream) = event_channel();
    let journal = Journal::default();
    journal.begin(CONTEXT).finish();
    let mut progress = Progress::new(sink, journal);
    for update in updates {
        progress.update(update);
    }
    let counts = progress.counts();
    drop(progress);
    let mut shown = Vec::new();
    while let Some(event) = stream.next().await {
        shown.push(event.to_string());
    }
    (shown, counts)
}

#[tokio::test]
async fn counters_that_count_too_far_are_the_most_there_can_be() {
    let counter = |id: &str| {
        let (current, total) = (u64::MAX, Some(u64::MAX));
        let (step, id) = ("a".to_owned(), id.to_owned());
        Update::Counter(Counter { step, id, current, total, started: None, completed: None })
    };
    let (shown, _) = shown(vec![Update::Step(state("a", "exporting")), counter("one"), counter("two")]).await;
    let most = "#1    100% (18446744073.7 of 18446744073.7 GB)";
    assert!(shown.iter().any(|event| event == most), "{shown:?}");
}

#[tokio::test]
async fn steps_begin_print_whole_lines_and_end_once() {
    let name = "[build 2/3] RUN make";
    let (shown, counts) = shown(vec![
        Update::Step(StepState { started: None, ..state("a", name) }),
        Update::Step(state("a", name)),
        output("a", "one\r\ntw"),
        output("a", "o\nthree"),
        Update::Step(ended("a", name)),
        Update::Step(ended("a", name)),
        Update::Step(state("b", "[internal] load build definition from Dockerfile")),
        Update::Step(ended("b", "[internal] load build definition from Dockerfile")),
    ])
    .await;
    let expected = [
        format!("#1 => {name}"),
        "#1    one".to_owned(),
        "#1    two".to_owned(),
        "#1    three".to_owned(),
        format!("#1 => {name}: done"),
        "#2 => [internal] load build definition from Dockerfile".to_owned(),
        "#2 => [internal] load build definition from Dockerfile: done".to_owned(),
    ];
    assert_eq!(shown, expected);
    assert_eq!(counts, (0, 1));
}

#[tokio::test]
async fn a_source_that_is_looked_up_and_then_fetched_is_one_step() {
    let (context, from) = ("[internal] load build context", "[1/2] FROM busybox");
    let on_top = StepState { inputs: vec!["f".to_owned()], ..state("r", "[2/2] RUN make") };
    let (shown, _) = shown(vec![
        Update::Step(ended("c", context)),
        Update::Step(state("c", context)),
        Update::Step(state("f", from)),
        Update::Step(ended("f", from)),
        Update::Step(state("f", from)),
        Update::Step(ended("c", context)),
        Update::Step(ended("f", from)),
        Update::Step(on_top),
    ])
    .await;
    let sent = "#1    sent 0 files (0 bytes) of a list of 0 entries";
    let expected = [
        "#1 => [internal] load build context",
        "#2 => [1/2] FROM busybox",
        sent,
        "#1 => [internal] load build context: done",
        "#2 => [1/2] FROM busybox: done",
        "#3 => [2/2] RUN make",
    ];
    assert_eq!(shown[..6], expected);
}

#[tokio::test]
async fn the_context_is_loaded_when_it_was_sent_however_its_look_up_is_reported() {
    let name = "[internal] load build context";
    let (sink, mut stream) = event_channel();
    let journal = Journal::default();
    let mut progress = Progress::new(sink, journal.clone());
    progress.update(Update::Step(state("c", name)));
    progress.update(Update::Step(ended("c", name)));
    let sync = journal.begin(CONTEXT);
    // Reported late.
    progress.update(Update::Step(ended("c", name)));
    progress.update(Update::Step(state("c", name)));
    sync.finish();
    progress.update(Update::Step(ended("c", name)));
    drop(progress);
    let mut shown = Vec::new();
    while let Some(event) = stream.next().await {
        shown.push(event.to_string());
    }
    let sent = "#1    sent 0 files (0 bytes) of a list of 0 entries";
    assert_eq!(shown, [format!("#1 => {name}"), sent.to_owned(), format!("#1 => {name}: done")]);
}

#[tokio::test]
async fn cached_steps_are_counted_as_such_and_from_is_not_counted() {
    let cached = |digest: &str, name: &str| Update::Step(StepState { cached: true, ..ended(digest, name) });
    let (_, counts) = shown(vec![
        cached("a", "[1/3] FROM busybox"),
        cached("b", "[2/3] RUN a"),
        Update::Step(ended("b", "[2/3] RUN a")),
        Update::Step(state("c", "[stage-1 3/3] COPY . .")),
        Update::Step(ended("c", "[stage-1 3/3] COPY . .")),
        Update::Step(state("d", "exporting to image")),
        Update::Step(ended("d", "exporting to image")),
    ])
    .await;
    assert_eq!(counts, (1, 1));
}

#[tokio::test]
async fn a_cache_that_does_not_exist_yet_is_no_failure_and_one_that_cannot_be_used_is_a_warning() {
    let failed = |digest: &str, name: &str, error: &str| {
        Update::Step(StepState { error: Some(error.to_owned()), ..ended(digest, name) })
    };
    let import = "importing cache manifest from r.example/api:c";
    let export = "exporting cache to registry";
    let (shown, _) = shown(vec![
        failed("a", import, "failed to configure registry cache importer: r.example/api:c: not found"),
        failed("b", import, "401 Unauthorized"),
        failed("c", export, "connection refused"),
        failed("d", export, "context canceled"),
    ])
    .await;
    assert_eq!(shown[1..3], ["#1    there is none yet".to_owned(), format!("#1 => {import}: done")]);
    let warnings: Vec<_> = shown.iter().filter_map(|event| event.strip_prefix("warning: ")).collect();
    let [read, written] = warnings[..] else { panic!("{shown:?}") };
    assert!(read.starts_with("the cache r.example/api:c could not be read: 401 Unauthorized"), "{read}");
    assert!(written.starts_with("the cache could not be written"), "{written}");
    assert!(written.contains("connection refused"), "{written}");
    assert_eq!(shown.iter().filter(|event| event.contains(": FAILED: ")).count(), 3);
}

#[tokio::test]
async fn counters_of_a_step_are_added_up() {
    let counter = |id: &str, current, total| {
        Update::Counter(Counter {
            step: "a".to_owned(),
            id: id.to_owned(),
            current,
            total,
            started: None,
            completed: None,
        })
    };
    let (shown, _) = shown(vec![
        Update::Step(state("a", "[1/2] FROM busybox")),
        counter("sha256:1", 5_000, Some(10_000)),
        counter("sha256:2", 1_000, Some(7_000)),
        counter("unpacking", 0, None),
        Update::Step(ended("a", "[1/2] FROM busybox")),
    ])
    .await;
    assert_eq!(shown[1..4], ["#1    50% (5.0 of 10.0 kB)", "#1    35% (6.0 of 17.0 kB)", "#1    unpacking"]);
}

#[tokio::test]
async fn of_each_context_it_is_told_how_much_is_to_come() {
    for (name, directory) in
        [("[internal] load build context", CONTEXT), ("[context lib] load from client", "context:lib")]
    {
        let (sink, mut stream) = event_channel();
        let journal = Journal::default();
        let mut progress = Progress::new(sink, journal.clone());
        let counter = || {
            Update::Counter(Counter {
                step: "c".to_owned(),
                id: "transferring context:".to_owned(),
                // It counts the packets around the files as well.
                current: 1_234_567,
                total: None,
                started: None,
                completed: None,
            })
        };
        // Other directories count for themselves.
        for other in ["context:other", DOCKERFILE] {
            journal.begin(other).requested(7);
        }
        if directory != CONTEXT {
            let sync = journal.begin_following(directory, &[".dockerignore".to_owned()]);
            sync.sent(&batch::stat(None));
            sync.finish();
        }
        // The look-up, which is not the transfer.
        progress.update(Update::Step(state("c", name)));
        progress.update(Update::Step(ended("c", name)));
        progress.update(Update::Step(state("c", name)));
        let sync = journal.begin(directory);
        sync.requested(100_000);
        sync.sent(&batch::data(0, vec![0; 25_000]));
        progress.update(counter());
        sync.sent(&batch::stat(None));
        progress.update(counter());
        sync.sent(&batch::data(0, vec![0; 75_000]));
        sync.finish();
        progress.update(Update::Step(ended("c", name)));
        drop(progress);
        let (mut counts, mut shown) = (Vec::new(), Vec::new());
        while let Some(event) = stream.next().await {
            match event {
                Event::Progress { current, total, .. } => counts.push((current, total)),
                event => shown.push(event.to_string()),
            }
        }
        assert_eq!(
            counts,
            [(25_000, None), (25_000, Some(100_000)), (100_000, Some(100_000))],
            "{name}: {shown:?}"
        );
        let sent = "#1    sent 0 files (100000 bytes) of a list of 0 entries".to_owned();
        assert_eq!(shown, [format!("#1 => {name}"), sent, format!("#1 => {name}: done")]);
    }
}

#[tokio::test]
async fn a_warning_has_its_place_as_data() {
    let warnings = [("https://docs.example/rule", Some(3)), ("", Some(4)), ("", None)];
    let updates =
        warnings.map(|(url, line)| Update::Warning { message: "A: b".to_owned(), url: url.to_owned(), line });
    let (sink, mut stream) = event_channel();
    let mut progress = Progress::new(sink, Journal::default());
    for update in updates {
        progress.update(update);
    }
    drop(progress);
    let place = |line, url: Option<&str>| Some(WarningData::Dockerfile { line, url: url.map(str::to_owned) });
    for expected in [place(Some(3), Some("https://docs.example/rule")), place(Some(4), None), None] {
        let event = stream.next().await;
        assert!(matches!(&event, Some(Event::Warning { data, .. }) if *data == expected), "{event:?}");
    }
}

#[test]
fn a_warning_names_its_line_once() {
    assert_eq!(placed("A: b (line 3)", Some(3)), "line 3 of the Dockerfile: A: b");
    assert_eq!(placed("A: b (line 3)", Some(4)), "line 4 of the Dockerfile: A: b (line 3)");
    assert_eq!(placed("A: b", None), "A: b");
}

#[test]
fn the_tail_is_of_the_step_that_failed() {
    let (sink, _stream) = event_channel();
    let mut progress = Progress::new(sink, Journal::default());
    progress.update(Update::Step(state("a", "[2/2] RUN make")));
    for number in 0..TAIL + 2 {
        progress.update(output("a", &format!("{number}\n")));
    }
    progress.update(output("a", "unfinished"));
    let tail = progress.tail("a");
    assert_eq!((tail[0].as_str(), tail.last().map(String::as_str)), ("2", Some("unfinished")));
    assert_eq!(progress.instruction("a"), Some("RUN make"));
    assert!(progress.tail("unknown").is_empty());
}

#[tokio::test]
async fn what_a_daemon_makes_up_is_not_kept_without_end() {
    let (sink, stream) = event_channel();
    let mut progress = Progress::new(sink, Journal::default());
    let long = "x".repeat(10_000);
    progress.update(Update::Step(state("real", "[1/1] RUN make")));
    for number in 0..20_000 {
        progress.update(Update::Step(state(&number.to_string(), &format!("made up {long}"))));
        let counter = Counter {
            step: "real".to_owned(),
            id: format!("{number} {long}"),
            current: 1,
            total: None,
            started: None,
            completed: None,
        };
        progress.update(Update::Counter(counter));
        progress.update(output(&number.to_string(), "a line\n"));
        progress.update(Update::Warning { message: long.clone(), url: String::new(), line: None });
    }
    assert!(progress.size < MOST_FOLLOWED + 2 * long.len() + OVERHEAD + 1000, "{}", progress.size);
    assert!(progress.steps.len() < 5000, "{}", progress.steps.len());
    let with_lines = progress.steps.values().filter(|step| !step.tail().is_empty()).count();
    assert!(with_lines <= MOST_PRINTING, "{with_lines}");
    // What was known before goes on.
    progress.update(output("real", &format!("{}\nthe end\n", "y".repeat(50_000))));
    let tail = progress.tail("real");
    assert_eq!(tail.last().map(String::as_str), Some("the end"));
    assert!(tail[0].len() < 5000);
    drop((progress, stream));
}
