use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::Cluster;

/// Longer lines are cut into pieces of this many bytes, so that no log can fill the memory.
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// How far apart the end of a container and the end of its log stream may lie.
const END_GRACE: Duration = Duration::from_secs(2);

/// A stream that is silent for so long is opened anew, in case its connection has died.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// How long to wait before a log stream that broke is opened again.
const RESUME_AFTER: Duration = Duration::from_millis(300);

/// Streams a container's log to `on_line`, from its beginning to its end, without gaps or repeats.
/// Returns whether the end was read.
///
/// The API server may end a log stream early (restarts, rotation, idle proxies), so the end of a
/// stream says nothing: `container_ended` does. Cancel it once the container has ended; the call then
/// returns when the rest of the log was read, or nothing has come for some seconds. Lines have no line
/// end, and invalid UTF-8 is replaced.
pub async fn follow_log(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    container_ended: &CancellationToken,
    mut on_line: impl FnMut(&str),
) -> bool {
    let pods = cluster.api::<Pod>(namespace);
    let mut seen = Seen::default();
    let lines = AtomicU64::new(0);
    let mut seems_whole = false;
    loop {
        // Looked up before reading: a stream that is opened after the end contains everything.
        let was_ended = container_ended.is_cancelled();
        let parameters = LogParams {
            container: Some(container.to_owned()),
            follow: true,
            timestamps: true,
            since_time: seen.resume_from(),
            ..LogParams::default()
        };
        let reading = async {
            // The kubelet may not answer before there is something to read.
            let opening = timeout(LONGEST_SILENCE, pods.log_stream(pod, &parameters));
            let stream = opening.await?.map_err(std::io::Error::other)?;
            read_lines(stream, &mut |line| {
                lines.fetch_add(1, Ordering::Relaxed);
                if let Some(text) = seen.accept(line) {
                    on_line(text);
                }
            })
            .await
        };
        let complete = tokio::select! {
            complete = reading => complete,
            // A connection can die without a word; then the end of the container is not followed by
            // the end of the stream.
            () = silent_after_end(container_ended, &lines) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        match complete {
            Ok(()) if was_ended => return true,
            Err(error) if was_ended => {
                tracing::debug!(%error, pod, "the rest of the builder's log could not be read");
                return seems_whole;
            }
            // A clean end usually means that the container has ended, and its pod is about to say so. But it may have come
            // just before that, so what is left is read in any case.
            Ok(()) => seems_whole = timeout(END_GRACE, container_ended.cancelled()).await.is_ok(),
            Err(error) => {
                seems_whole = false;
                tracing::debug!(%error, pod, "the builder's log broke off and is resumed");
            }
        }
        seen.resume();
        tokio::select! {
            () = tokio::time::sleep(RESUME_AFTER) => {}
            () = container_ended.cancelled() => {}
        }
    }
}

/// Waits until the container has ended and no line has come for a while.
async fn silent_after_end(container_ended: &CancellationToken, lines: &AtomicU64) {
    container_ended.cancelled().await;
    loop {
        let before = lines.load(Ordering::Relaxed);
        tokio::time::sleep(END_GRACE).await;
        if lines.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

pub(super) async fn read_lines(
    stream: impl AsyncBufRead,
    on_line: &mut impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut stream = std::pin::pin!(stream);
    let mut line = Vec::new();
    loop {
        let buffer = timeout(LONGEST_SILENCE, stream.fill_buf()).await??;
        if buffer.is_empty() {
            if !line.is_empty() {
                on_line(&line);
            }
            return Ok(());
        }
        let room = LONGEST_LINE - line.len();
        let end = buffer.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len().min(room), |end| end + 1);
        line.extend_from_slice(&buffer[..taken]);
        stream.as_mut().consume(taken);
        if end.is_some() || line.len() >= LONGEST_LINE {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            on_line(&line);
            line.clear();
        }
    }
}

/// Which of a log's latest lines were seen.
///
/// The server resumes by the second, and the lines of a container's two streams are stamped
/// independently, so that stamps may go back a little. So a resumed stream begins a second before the
/// second of the latest line, and what was seen of that time is left out, each line as often as it was
/// seen.
#[derive(Default, Debug)]
pub(super) struct Seen {
    latest: Option<Timestamp>,
    /// How many lines have which stamp, as far back as a resumed stream goes.
    stamps: BTreeMap<Timestamp, usize>,
    /// Those that a resumed stream has not repeated yet, and how many these are together.
    expected: BTreeMap<Timestamp, usize>,
    left: usize,
    /// How many pieces without a stamp were seen after the latest line: the rest of it, if it was cut.
    rest: usize,
    /// How many such pieces follow that were seen before.
    repeated: usize,
    text: String,
}

impl Seen {
    /// A whole second, as the API server is asked for seconds: anything finer would be rounded up.
    pub(super) fn resume_from(&self) -> Option<Timestamp> {
        let second = self.latest?.as_second();
        Timestamp::from_second(second.saturating_sub(1)).ok()
    }

    pub(super) fn resume(&mut self) {
        self.expected.clone_from(&self.stamps);
        self.left = self.expected.values().sum();
        self.repeated = 0;
    }

    /// Returns the line without its timestamp, or `None` if it was seen before.
    pub(super) fn accept(&mut self, line: &[u8]) -> Option<&str> {
        let line = String::from_utf8_lossy(line);
        let (stamp, text) = line.split_once(' ').unwrap_or((&line, ""));
        // Without a stamp, it is the rest of a line that was cut, or a message of the kubelet itself.
        let stamp = stamp.parse::<Timestamp>().ok();
        if let Some(stamp) = stamp {
            if let Some(count) = self.expected.get_mut(&stamp).filter(|count| **count > 0) {
                *count -= 1;
                self.left -= 1;
                // The rest of each of these lines was seen as well, except that of the last one.
                self.repeated = if self.left == 0 { self.rest } else { usize::MAX };
                return None;
            }
            (self.rest, self.repeated) = (0, 0);
            self.remember(stamp);
        } else if self.repeated > 0 {
            self.repeated -= 1;
            return None;
        } else {
            self.rest += 1;
        }
        self.text.clear();
        self.text.push_str(if stamp.is_some() { text.trim_end_matches('\r') } else { &line });
        Some(&self.text)
    }

    fn remember(&mut self, stamp: Timestamp) {
        *self.stamps.entry(stamp).or_default() += 1;
        let new_second = self.latest.is_none_or(|latest| stamp.as_second() > latest.as_second());
        self.latest = self.latest.max(Some(stamp));
        if new_second && let Some(from) = self.resume_from() {
            self.stamps = self.stamps.split_off(&from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(seen: &mut Seen, lines: &[&str]) -> Vec<String> {
        lines.iter().filter_map(|line| seen.accept(line.as_bytes()).map(str::to_owned)).collect()
    }

    /// What a server sends for a `since_time`.
    fn since<'l>(log: &[&'l str], from: Option<Timestamp>) -> Vec<&'l str> {
        let stamp = |line: &str| line.split(' ').next().and_then(|stamp| stamp.parse::<Timestamp>().ok());
        log.iter().copied().filter(|line| stamp(line) >= from).collect()
    }

    const LOG: [&str; 7] = [
        "2026-01-01T00:00:00.7Z one",
        "2026-01-01T00:00:01.2Z two",
        "2026-01-01T00:00:01.2Z two again",
        "2026-01-01T00:00:00.9Z late",
        "2026-01-01T00:00:01.8Z three",
        "2026-01-01T00:00:02.1Z four",
        "2026-01-01T00:00:01.9Z late again",
    ];

    #[test]
    fn a_log_that_is_resumed_anywhere_has_no_gaps_and_no_repeats() {
        let whole = accepted(&mut Seen::default(), &LOG);
        assert_eq!(whole.len(), LOG.len(), "stamps that go back lose nothing");
        for first in 0..=LOG.len() {
            for second in first..=LOG.len() {
                let mut seen = Seen::default();
                let mut lines = accepted(&mut seen, &LOG[..first]);
                for sent in [&LOG[..second], &LOG[..]] {
                    seen.resume();
                    let resumed = since(sent, seen.resume_from());
                    lines.extend(accepted(&mut seen, &resumed));
                }
                assert_eq!(lines, whole, "cut after {first} and {second}");
            }
        }
    }

    #[test]
    fn the_rest_of_a_cut_line_comes_once_wherever_a_stream_breaks_off() {
        let log = [
            "2026-01-01T00:00:01Z short",
            "2026-01-01T00:00:01Z long",
            "more",
            "end",
            "2026-01-01T00:00:01Z last",
        ];
        let whole = ["short", "long", "more", "end", "last"];
        for end in 0..=log.len() {
            let mut seen = Seen::default();
            let mut lines = accepted(&mut seen, &log[..end]);
            seen.resume();
            lines.extend(accepted(&mut seen, &log));
            assert_eq!(lines, whole, "broken off after {end}");
        }
    }

    #[test]
    fn only_the_latest_seconds_are_remembered() {
        let mut seen = Seen::default();
        for second in 0..10_000 {
            let stamp = Timestamp::from_second(second).expect("in range");
            seen.accept(format!("{stamp} x").as_bytes());
        }
        assert!(seen.stamps.len() <= 2, "{}", seen.stamps.len());
    }

    #[test]
    fn a_log_that_says_much_within_a_second_is_resumed_in_no_time() {
        let lines: Vec<String> =
            (1..40_000).map(|nanos| format!("2026-01-01T00:00:00.{nanos:09}Z x")).collect();
        let mut seen = Seen::default();
        let accept =
            |seen: &mut Seen| lines.iter().filter(|line| seen.accept(line.as_bytes()).is_some()).count();
        assert_eq!(accept(&mut seen), lines.len());
        seen.resume();
        let before = garden_test_programs::cpu_time();
        assert_eq!(accept(&mut seen), 0);
        let took = garden_test_programs::cpu_time().saturating_sub(before);
        // Counting all that is left for each line would be 800 million steps.
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn empty_lines_and_lines_without_a_time_are_kept() {
        let mut seen = Seen::default();
        assert_eq!(accepted(&mut seen, &["2026-01-01T00:00:00Z ", "rest of a line"]), ["", "rest of a line"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_into_pieces() {
        let endless = vec![b'x'; LONGEST_LINE * 2 + 5];
        let mut lengths = Vec::new();
        read_lines(futures::io::Cursor::new(endless), &mut |line| lengths.push(line.len()))
            .await
            .expect("readable");
        assert_eq!(lengths, [LONGEST_LINE, LONGEST_LINE, 5]);
    }

    #[tokio::test]
    async fn lines_are_split_at_line_ends_only() {
        let mut lines = Vec::new();
        let text = futures::io::Cursor::new(b"a b\n\nlast".to_vec());
        read_lines(text, &mut |line| lines.push(String::from_utf8_lossy(line).into_owned()))
            .await
            .expect("readable");
        assert_eq!(lines, ["a b", "", "last"]);
    }
}
