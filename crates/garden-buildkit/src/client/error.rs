//! Why a build, or the conversation with a daemon, failed.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::rpc;
use garden_build_core::{with_causes, words};
use prost::Message as _;
use serde::Deserialize;
use tonic::{Code, Status};

/// Why a call to a daemon failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection broke, or what answered is not a daemon.
    #[error("the connection to the BuildKit daemon was lost: {reason}")]
    Lost {
        /// How.
        reason: String,
    },
    /// The daemon could not serve the call: it is shutting down, or lost the session.
    #[error("the BuildKit daemon gave up: {message}")]
    GaveUp {
        /// What it said.
        message: String,
    },
    /// The build failed, or the daemon refused the call.
    #[error("{0}")]
    Failed(Box<Failure>),
}

/// What a daemon says about a failed build.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The daemon's message.
    pub message: String,
    pub(crate) code: Code,
    /// The digest of the failed step.
    pub vertex: Option<String>,
    /// Where in which Dockerfile the failed step stands; the innermost last.
    pub sources: Vec<SourceLines>,
}

/// A range of lines of a Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SourceLines {
    /// The file's name, as the build was given it.
    pub file: String,
    /// The first line, from 1.
    pub first: u32,
    /// The last line.
    pub last: u32,
    /// The text of these lines.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl SourceLines {
    /// Names the lines from `first` to `last` of `file`, which say `text`.
    pub fn new(file: impl Into<String>, first: u32, last: u32, text: impl Into<String>) -> Self {
        Self { file: file.into(), first, last, text: text.into() }
    }
}

impl Failure {
    /// Makes a failure of which nothing else is known.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { message: message.into(), code, vertex: None, sources: Vec::new() }
    }

    /// Returns the class of failure: the number of a gRPC status code, such as 1 for `CANCELLED`.
    pub fn status(&self) -> i32 {
        self.code.into()
    }

    /// Returns the code with which the failed step's command exited.
    ///
    /// The daemon has no field for it. Source of the words: `BuildKit` 0.25 and 0.26,
    /// `frontend/gateway/pb/exit.go` and `solver/llbsolver/ops/exec.go`.
    pub fn exit_code(&self) -> Option<i32> {
        // The command's line is quoted, and may hold the same words.
        let (_, code) = self
            .message
            .strip_prefix("process \"")?
            .rsplit_once("\" did not complete successfully: exit code: ")?;
        code.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    }
}

impl ClientError {
    pub(super) fn lost(error: &(dyn Error + 'static)) -> Self {
        Self::Lost { reason: with_causes(error) }
    }

    /// Reads the status of a failed call.
    pub(super) fn from_status(status: &Status) -> Self {
        // What was made here, from a broken connection, has a source; what came over the wire has none.
        if let Some(source) = status.source() {
            return Self::lost(source);
        }
        let message = status.message().to_owned();
        // Source of the words: `BuildKit` 0.25 and 0.26, `session/manager.go` and `session/group.go`.
        let no_session = words::parts(&message)
            .any(|part| part == "no active sessions" || part.starts_with("no active session for "));
        match status.code() {
            Code::Unavailable => Self::GaveUp { message },
            _ if no_session => Self::GaveUp { message },
            code => Self::Failed(Box::new(Failure { message, code, ..details(status.details()) })),
        }
    }
}

/// Reads what the daemon adds to a status. Each detail is JSON within a protobuf `Any`; unknown ones,
/// such as stack traces, are left out.
///
/// Source: `BuildKit`, `util/grpcerrors/grpcerrors.go` and `solver/errdefs`.
fn details(bytes: &[u8]) -> Failure {
    let mut failure = Failure::new(Code::Unknown, "");
    let Ok(status) = rpc::Status::decode(bytes) else { return failure };
    for detail in status.details {
        match detail.type_url.rsplit_once('/').map_or("", |(_, name)| name) {
            "errdefs.Vertex+json" => {
                let vertex = serde_json::from_slice::<Vertex>(&detail.value);
                failure.vertex = vertex.ok().map(|vertex| vertex.digest);
            }
            "errdefs.Source+json" => {
                let source = serde_json::from_slice::<Source>(&detail.value).ok();
                failure.sources.extend(source.and_then(Source::lines));
            }
            _ => {}
        }
    }
    failure
}

#[derive(Deserialize)]
struct Vertex {
    #[serde(default)]
    digest: String,
}

#[derive(Deserialize)]
struct Source {
    info: SourceInfo,
    #[serde(default)]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct SourceInfo {
    #[serde(default)]
    filename: String,
    /// The whole file, in base64.
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Deserialize)]
struct Position {
    /// From 1; Go leaves zeros out.
    #[serde(default)]
    line: u32,
}

impl Source {
    fn lines(self) -> Option<SourceLines> {
        let first = self.ranges.iter().map(|range| range.start.line).min().filter(|line| *line > 0)?;
        let last = self.ranges.iter().map(|range| range.end.line).max().unwrap_or(first).max(first);
        let file = STANDARD.decode(self.info.data).unwrap_or_default();
        let file = String::from_utf8_lossy(&file);
        let (skip, take) = (first as usize - 1, (last - first) as usize + 1);
        let text: Vec<&str> = file.lines().skip(skip).take(take).collect();
        Some(SourceLines::new(self.info.filename, first, last, text.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::google::protobuf::Any;

    use super::*;

    fn any(name: &str, value: &serde_json::Value) -> Any {
        Any {
            type_url: format!("github.com/moby/buildkit/{name}+json"),
            value: value.to_string().into_bytes(),
        }
    }

    fn status(message: &str, details: Vec<Any>) -> Status {
        let proto = rpc::Status { code: 2, message: message.to_owned(), details };
        Status::with_details(Code::Unknown, message, proto.encode_to_vec().into())
    }

    #[test]
    fn the_lines_of_the_failed_step_are_read_from_the_details() {
        let dockerfile = "FROM busybox\nRUN make \\\n  && false\nCMD x\n";
        let source = serde_json::json!({
            "info": { "filename": "Dockerfile", "data": STANDARD.encode(dockerfile) },
            "ranges": [{ "start": { "line": 2 }, "end": { "line": 3 } }],
        });
        let vertex = serde_json::json!({ "digest": "sha256:1234" });
        let message = "process \"/bin/sh -c make\" did not complete successfully: exit code: 2";
        let details = vec![
            any("errdefs.Solve", &serde_json::json!({})),
            any("errdefs.Source", &source),
            any("errdefs.Vertex", &vertex),
        ];
        let ClientError::Failed(failure) = ClientError::from_status(&status(message, details)) else {
            panic!("not a failure of the build");
        };
        assert_eq!(failure.vertex.as_deref(), Some("sha256:1234"));
        assert_eq!(failure.exit_code(), Some(2));
        let text = "RUN make \\\n  && false".to_owned();
        assert_eq!(failure.sources, [SourceLines { file: "Dockerfile".to_owned(), first: 2, last: 3, text }]);
    }

    #[test]
    fn the_exit_code_is_not_read_from_the_command_s_own_words() {
        let exit_code = |message: &str| Failure::new(Code::Unknown, message).exit_code();
        let quoted = "process \"/bin/sh -c echo '\\\" did not complete successfully: exit code: 7'\" did not complete successfully: ";
        assert_eq!(exit_code(&format!("{quoted}exit code: 2")), Some(2));
        assert_eq!(
            exit_code("failed to push r.example/a:1: did not complete successfully: exit code: 2"),
            None
        );
    }

    #[test]
    fn garbage_in_the_details_leaves_the_message() {
        let garbage = Status::with_details(Code::Unknown, "failed", b"\xff\xff".to_vec().into());
        assert_eq!(ClientError::from_status(&garbage).to_string(), "failed");
        let odd = vec![any("errdefs.Source", &serde_json::json!({ "info": {}, "ranges": [] }))];
        assert_eq!(ClientError::from_status(&status("failed", odd)).to_string(), "failed");
    }

    #[test]
    fn a_daemon_that_stops_is_not_a_failed_build() {
        for status in [
            Status::unavailable("shutting down"),
            Status::unknown("no active session for x: context deadline exceeded"),
        ] {
            assert!(matches!(ClientError::from_status(&status), ClientError::GaveUp { .. }), "{status}");
        }
    }
}
