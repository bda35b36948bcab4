//! A container that prints anything.

use futures::{AsyncBufRead, TryStreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;

use super::log::{LONGEST_LINE, Seen, read_lines};

/// Reads a log as it comes, in pieces of one byte more than the first byte says, and then again from its beginning, as after a stream that broke.
///
/// # Panics
/// If pieces lose or add anything, or what was seen is shown again.
pub fn pod_log(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (size, log) = data.split_first().map_or((1, data), |(size, log)| (1 + usize::from(*size), log));
    let lines = runtime.block_on(async {
        let whole = lines_of(log).await;
        let pieces = stream::iter(log.chunks(size).map(Ok::<_, std::io::Error>));
        let in_pieces = lines_of(pieces.into_async_read()).await;
        assert_eq!(whole, in_pieces, "in pieces of {size}");
        whole
    });
    assert!(lines.iter().all(|line| line.len() <= LONGEST_LINE));
    let mut seen = Seen::default();
    for line in &lines {
        seen.accept(line);
    }
    seen.resume();
    // As the server resumes, which has stamped every line.
    let Some(from) = seen.resume_from() else { return };
    for line in lines.iter().filter(|line| stamp(line).is_some_and(|stamp| stamp >= from)) {
        assert_eq!(seen.accept(line), None, "shown again");
    }
}

async fn lines_of(stream: impl AsyncBufRead) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    read_lines(stream, &mut |line| lines.push(line.to_vec())).await.expect("bytes in memory");
    lines
}

fn stamp(line: &[u8]) -> Option<Timestamp> {
    let line = String::from_utf8_lossy(line);
    line.split(' ').next()?.parse().ok()
}
