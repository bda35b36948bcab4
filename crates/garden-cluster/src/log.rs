use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Cluster;

/// Longer lines are cut into pieces of this many bytes, so that no log can fill the memory.
const LONGEST_LINE: usize = 64 * 1024;

/// How far apart the end of a container and the end of its log stream may lie.
const END_GRACE: Duration = Duration::from_secs(2);

/// A stream that is silent for so long is opened anew, in case its connection has died.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// How long to wait before a log stream that broke is opened again.
const RESUME_AFTER: Duration = Duration::from_millis(300);

/// Streams a container's log to `on_line`, from its beginning to its end, without gaps or repeats.
///
/// The API server may end a log stream early (restarts, rotation, idle proxies), so the end of a
/// stream says nothing: `container_ended` does. Cancel it once the container has ended; the call then
/// returns when the rest of the log was read. Lines have no line end, and invalid UTF-8 is replaced.
pub async fn follow_log(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    container_ended: &CancellationToken,
    mut on_line: impl FnMut(&str),
) {
    let pods = cluster.api::<Pod>(namespace);
    let mut position = Position::default();
    loop {
        // Looked up before reading: a stream that is opened after the end contains everything.
        let was_ended = container_ended.is_cancelled();
        let parameters = LogParams {
            container: Some(container.to_owned()),
            follow: true,
            timestamps: true,
            since_time: position.resume_from(),
            ..LogParams::default()
        };
        let reading = async {
            let stream = pods.log_stream(pod, &parameters).await.map_err(std::io::Error::other)?;
            read_lines(stream, &mut |line| {
                if let Some(text) = position.accept(line) {
                    on_line(text);
                }
            })
            .await
        };
        let complete = tokio::select! {
            complete = reading => complete,
            // A connection can die without a word; then the end of the container is not followed by
            // the end of the stream.
            () = overdue(container_ended), if !was_ended => Err(std::io::ErrorKind::TimedOut.into()),
        };
        match complete {
            // A clean end usually means that the container has ended, and its pod is about to say so.
            Ok(()) if was_ended || timeout(END_GRACE, container_ended.cancelled()).await.is_ok() => return,
            Err(error) if was_ended => {
                tracing::debug!(%error, pod, "the rest of the builder's log could not be read");
                return;
            }
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, pod, "the builder's log broke off and is resumed"),
        }
        position.resume();
        tokio::select! {
            () = tokio::time::sleep(RESUME_AFTER) => {}
            () = container_ended.cancelled() => {}
        }
    }
}

async fn overdue(container_ended: &CancellationToken) {
    container_ended.cancelled().await;
    tokio::time::sleep(END_GRACE).await;
}

async fn read_lines(stream: impl AsyncBufRead, on_line: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
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

/// How far a log was read. The server resumes by the second, so lines that were seen come again and
/// are recognised by their time; lines of the very same time are counted.
#[derive(Default, Debug)]
struct Position {
    last: Option<Timestamp>,
    at_last: usize,
    repeated: usize,
    text: String,
}

impl Position {
    fn resume_from(&self) -> Option<Timestamp> {
        self.last
    }

    fn resume(&mut self) {
        self.repeated = 0;
    }

    /// Returns the line without its timestamp, or `None` if it was seen before.
    fn accept(&mut self, line: &[u8]) -> Option<&str> {
        let line = String::from_utf8_lossy(line);
        let (stamp, text) = line.split_once(' ').unwrap_or((&line, ""));
        match stamp.parse::<Timestamp>() {
            // The rest of a line that was cut, or a message of the kubelet itself.
            Err(_) => {
                self.text.clear();
                self.text.push_str(&line);
                return Some(&self.text);
            }
            Ok(time) if self.last.is_some_and(|last| time < last) => return None,
            Ok(time) if self.last == Some(time) => {
                self.repeated += 1;
                if self.repeated <= self.at_last {
                    return None;
                }
                self.at_last = self.repeated;
            }
            Ok(time) => {
                self.last = Some(time);
                self.at_last = 1;
                self.repeated = 1;
            }
        }
        self.text.clear();
        self.text.push_str(text.trim_end_matches('\r'));
        Some(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(position: &mut Position, lines: &[&str]) -> Vec<String> {
        lines.iter().filter_map(|line| position.accept(line.as_bytes()).map(str::to_owned)).collect()
    }

    #[test]
    fn a_resumed_log_has_no_gaps_and_no_repeats() {
        let mut position = Position::default();
        let first = accepted(
            &mut position,
            &["2026-01-01T00:00:00.1Z one", "2026-01-01T00:00:00.2Z two", "2026-01-01T00:00:00.2Z two again"],
        );
        assert_eq!(first, ["one", "two", "two again"]);

        position.resume();
        let second = accepted(
            &mut position,
            &[
                "2026-01-01T00:00:00.1Z one",
                "2026-01-01T00:00:00.2Z two",
                "2026-01-01T00:00:00.2Z two again",
                "2026-01-01T00:00:00.2Z and a third",
                "2026-01-01T00:00:01Z four",
            ],
        );
        assert_eq!(second, ["and a third", "four"]);
    }

    #[test]
    fn empty_lines_and_lines_without_a_time_are_kept() {
        let mut position = Position::default();
        assert_eq!(
            accepted(&mut position, &["2026-01-01T00:00:00Z ", "rest of a line"]),
            ["", "rest of a line"]
        );
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
