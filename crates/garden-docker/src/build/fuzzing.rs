//! A daemon, and steps of a Dockerfile, that print anything.

use bollard::models::BuildInfo;
use garden_build_core::{Remedy, StepKind, event_channel};
use garden_buildkit::Advice;

use super::failure;
use super::progress::Progress;
use super::sending::Sending;

const ADVICE: Advice = Advice {
    base_image: Remedy::new("pull"),
    push: Remedy::new("push"),
    registry: Remedy::new("registry"),
    memory: Remedy::new("memory"),
    disk: Remedy::new("disk"),
    lost: Remedy::new("lost"),
};

/// Reads what the classic builder says, one message in JSON in a line; the last line is why the build failed.
///
/// # Panics
/// If more is kept of it than a build may cost.
pub fn classic_build(data: &[u8]) {
    let (events, _stream) = event_channel();
    let sending = Sending::new(events.step(StepKind::Upload, "send the build context to Docker"), 0);
    let mut progress = Progress::new(events, sending);
    let (mut lines, mut last) = (0, "");
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        last = line;
        if let Ok(said) = serde_json::from_str::<BuildInfo>(line) {
            lines += said.stream.as_ref().map_or(0, |stream| 1 + stream.matches('\n').count());
            progress.say(&said);
        }
    }
    let error = failure::explain(last, &progress, &ADVICE);
    assert!(!error.message().is_empty());
    assert!(!failure::explain_push("registry.example/api:v-1", last, &ADVICE).message().is_empty());
    progress.fail(error.message());
    let (cached, run) = progress.counts();
    assert!(cached + run <= lines && progress.tail().len() <= 20);
    assert!(progress.tail().iter().all(|line| line.len() <= 16 << 10));
}
