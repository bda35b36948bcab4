//! What the daemon reports on a build.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use bollard_buildkit_proto::pb;
use tokio::sync::watch::Sender;

use super::BuildFailure;

/// Source: `BuildKit`, `util/progress/logs/logs.go`.
const STANDARD_OUTPUT: i64 = 1;
const STANDARD_ERROR: i64 = 2;

/// The reports on a build, from the first to the last.
#[derive(Debug, Default)]
pub(super) struct Reports {
    list: Mutex<Vec<proto::StatusResponse>>,
    /// Holds whether there will be no more. Rings after each report.
    has_ended: Sender<bool>,
    steps: AtomicUsize,
}

impl Reports {
    /// Waits for the report with this number, from 0. `None` if there will be none.
    pub(super) async fn next(&self, number: usize) -> Option<proto::StatusResponse> {
        let mut bell = self.has_ended.subscribe();
        loop {
            let has_ended = *bell.borrow_and_update();
            if let Some(report) = self.list().get(number).cloned() {
                return Some(report);
            }
            if has_ended {
                return None;
            }
            // The sender is in `self`, so this does not fail.
            let _ = bell.changed().await;
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<proto::StatusResponse>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who can report. The reports end with the last clone of it.
#[derive(Clone, Debug)]
pub(super) struct Reporter(Arc<EndsReports>);

#[derive(Debug)]
struct EndsReports(Arc<Reports>);

impl Drop for EndsReports {
    fn drop(&mut self) {
        self.0.has_ended.send_replace(true);
    }
}

impl Reporter {
    pub(super) fn new(reports: Arc<Reports>) -> Self {
        Self(Arc::new(EndsReports(reports)))
    }

    fn report(&self, report: proto::StatusResponse) {
        let reports = &self.0.0;
        reports.list().push(report);
        reports.has_ended.send_replace(false);
    }

    pub(super) fn step(&self, name: &str) -> FakeStep {
        let number = self.0.0.steps.fetch_add(1, Ordering::Relaxed);
        let vertex = proto::Vertex {
            digest: format!("sha256:{number:064x}"),
            name: name.to_owned(),
            started: Some(now()),
            ..proto::Vertex::default()
        };
        let step = FakeStep { reporter: self.clone(), vertex };
        step.report_as(step.vertex.clone());
        step
    }

    pub(super) fn warn(&self, message: &str, url: &str, line: Option<u32>) {
        let position = |line| pb::Position { line, character: 0 };
        let range = line.and_then(|line| i32::try_from(line).ok()).map(position);
        let range = range.map(|position| pb::Range { start: Some(position), end: Some(position) });
        let warning = proto::VertexWarning {
            level: 1,
            short: message.as_bytes().to_vec(),
            url: url.to_owned(),
            ranges: range.into_iter().collect(),
            ..proto::VertexWarning::default()
        };
        self.report(proto::StatusResponse { warnings: vec![warning], ..Default::default() });
    }
}

/// A step of a build, of which a test says what the client hears. It has begun.
///
/// The reports on a build go on until the script has ended and the last step is dropped. A step that a task of its own
/// keeps is how a daemon behaves that reports on a build that has ended.
#[derive(Clone, Debug)]
pub struct FakeStep {
    reporter: Reporter,
    vertex: proto::Vertex,
}

impl FakeStep {
    /// Prints a line to the standard output stream of the step's command.
    pub fn log(&self, line: &str) {
        self.output(format!("{line}\n").as_bytes(), STANDARD_OUTPUT);
    }

    /// Prints a line to the standard error stream of the step's command.
    pub fn log_error(&self, line: &str) {
        self.output(format!("{line}\n").as_bytes(), STANDARD_ERROR);
    }

    /// Prints bytes to the standard output stream of the step's command. They may end anywhere, also within a character.
    pub fn print(&self, bytes: &[u8]) {
        self.output(bytes, STANDARD_OUTPUT);
    }

    /// Counts: so much of `total` is done of the part `id`, such as a layer that is pushed. A `total` of 0 is unknown.
    pub fn progress(&self, id: &str, current: u64, total: u64) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let done = total > 0 && current >= total;
        let status = proto::VertexStatus {
            id: id.to_owned(),
            vertex: self.vertex.digest.clone(),
            current: number(current),
            total: number(total),
            timestamp: Some(now()),
            started: self.vertex.started,
            completed: done.then(now),
            ..proto::VertexStatus::default()
        };
        self.reporter.report(proto::StatusResponse { statuses: vec![status], ..Default::default() });
    }

    /// The step ends, and has succeeded.
    pub fn complete(self) {
        self.report_as(proto::Vertex { completed: Some(now()), ..self.vertex.clone() });
    }

    /// The step ends, as its result is in a cache.
    pub fn cached(self) {
        self.report_as(proto::Vertex { cached: true, completed: Some(now()), ..self.vertex.clone() });
    }

    /// The step fails with this message. Returns the build's failure for it.
    pub fn fail(self, message: &str) -> BuildFailure {
        let error = message.to_owned();
        self.report_as(proto::Vertex { error, completed: Some(now()), ..self.vertex.clone() });
        BuildFailure::new(message).of_step(&self.vertex.digest)
    }

    /// The step's command ends with an exit code that is not 0. Returns the build's failure for it.
    ///
    /// Source of the words: `BuildKit` 0.26, `solver/llbsolver/ops/exec.go`.
    pub fn exit(self, command: &str, code: i32) -> BuildFailure {
        self.fail(&format!("process \"{command}\" did not complete successfully: exit code: {code}"))
    }

    fn output(&self, bytes: &[u8], stream: i64) {
        let log = proto::VertexLog {
            vertex: self.vertex.digest.clone(),
            timestamp: Some(now()),
            stream,
            msg: bytes.to_vec(),
        };
        self.reporter.report(proto::StatusResponse { logs: vec![log], ..Default::default() });
    }

    fn report_as(&self, vertex: proto::Vertex) {
        self.reporter.report(proto::StatusResponse { vertexes: vec![vertex], ..Default::default() });
    }
}

fn now() -> Timestamp {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = i32::try_from(time.subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), nanos }
}
