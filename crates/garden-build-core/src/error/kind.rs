//! The classes of failures.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Describes what class of failure an [`Error`](super::Error) is, for callers that react differently to each.
///
/// It is serialised as its [`name`](Self::name). A name that this version does not know, as a newer service may send it, is read as
/// [`Unexpected`](Self::Unexpected).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The project file or an option is wrong.
    Config,
    /// The build context or the Dockerfile cannot be used.
    Context,
    /// The build mode cannot do what the request asks for.
    Unsupported,
    /// A registry or the cluster refused the credentials, or had none.
    Unauthorized,
    /// The credentials are good but do not allow the operation.
    PermissionDenied,
    /// Something that has to exist does not.
    NotFound,
    /// A server could not be reached or broke off.
    Unreachable,
    /// The cluster refused an object: quota, admission policy, validation.
    Rejected,
    /// No node can take the builder.
    Unschedulable,
    /// The builder's own image cannot be pulled.
    ImagePull,
    /// The builder could not be started for another reason (volume, command, sandbox).
    BuilderStart,
    /// The builder ran out of memory.
    OutOfMemory,
    /// The builder was evicted from its node.
    Evicted,
    /// The builder vanished while it was building: deleted, or its node lost.
    BuilderLost,
    /// A step of the Dockerfile failed: [`Error::failed_step`](super::Error::failed_step) says which.
    BuildFailed,
    /// The image was built but could not be pushed.
    PushFailed,
    /// The build took longer than it was allowed.
    Timeout,
    /// The caller cancelled the build.
    Cancelled,
    /// A server answered something that it should not, or we have a defect.
    #[serde(other)]
    Unexpected,
}

impl ErrorKind {
    /// Returns the name that this kind keeps from version to version, such as `build-failed`: for logs, metrics and other programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Context => "context",
            Self::Unsupported => "unsupported",
            Self::Unauthorized => "unauthorized",
            Self::PermissionDenied => "permission-denied",
            Self::NotFound => "not-found",
            Self::Unreachable => "unreachable",
            Self::Rejected => "rejected",
            Self::Unschedulable => "unschedulable",
            Self::ImagePull => "image-pull",
            Self::BuilderStart => "builder-start",
            Self::OutOfMemory => "out-of-memory",
            Self::Evicted => "evicted",
            Self::BuilderLost => "builder-lost",
            Self::BuildFailed => "build-failed",
            Self::PushFailed => "push-failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unexpected => "unexpected",
        }
    }

    /// Returns the code that a command should end with for this kind. A kind keeps its code from version to version; several kinds may
    /// share one.
    ///
    /// | code | kinds | as in |
    /// |--:|---|---|
    /// | 1 | `build-failed` | most commands: the user's own Dockerfile fails |
    /// | 64 | `unsupported` | sysexits.h, `EX_USAGE` |
    /// | 65 | `context` | `EX_DATAERR` |
    /// | 66 | `not-found` | `EX_NOINPUT` |
    /// | 69 | `unreachable`, `image-pull` | `EX_UNAVAILABLE` |
    /// | 70 | `unexpected` | `EX_SOFTWARE` |
    /// | 71 | `builder-start`, `out-of-memory` | `EX_OSERR` |
    /// | 73 | `rejected` | `EX_CANTCREAT` |
    /// | 74 | `push-failed` | `EX_IOERR` |
    /// | 75 | `unschedulable`, `evicted`, `builder-lost` | `EX_TEMPFAIL` |
    /// | 77 | `unauthorized`, `permission-denied` | `EX_NOPERM` |
    /// | 78 | `config` | `EX_CONFIG` |
    /// | 124 | `timeout` | `timeout` of coreutils |
    /// | 130 | `cancelled` | shells, of a command that Ctrl-C ends |
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::BuildFailed => 1,
            Self::Unsupported => 64,
            Self::Context => 65,
            Self::NotFound => 66,
            Self::Unreachable | Self::ImagePull => 69,
            Self::Unexpected => 70,
            Self::BuilderStart | Self::OutOfMemory => 71,
            Self::Rejected => 73,
            Self::PushFailed => 74,
            Self::Unschedulable | Self::Evicted | Self::BuilderLost => 75,
            Self::Unauthorized | Self::PermissionDenied => 77,
            Self::Config => 78,
            Self::Timeout => 124,
            Self::Cancelled => 130,
        }
    }

    /// Returns the HTTP status that a service should answer with for this kind, when it builds for its clients: 4xx where a client can change its
    /// request or its sources, 5xx where it cannot. A kind keeps its status from version to version; several kinds may share one.
    ///
    /// That a registry or the cluster refuses the service's own credentials, or that its configuration is wrong, is not the client's fault, so the
    /// status is never 400, 401 or 403.
    ///
    /// | status | kinds |
    /// |--:|---|
    /// | 409 Conflict | `cancelled` |
    /// | 422 Unprocessable Content | `context`, `unsupported`, `build-failed` |
    /// | 500 Internal Server Error | `config`, `unexpected`, `builder-start`, `out-of-memory` |
    /// | 502 Bad Gateway | `unauthorized`, `permission-denied`, `not-found`, `rejected`, `image-pull`, `push-failed` |
    /// | 503 Service Unavailable | `unreachable`, `unschedulable`, `evicted`, `builder-lost` |
    /// | 504 Gateway Timeout | `timeout` |
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Cancelled => 409,
            Self::Context | Self::Unsupported | Self::BuildFailed => 422,
            Self::Config | Self::Unexpected | Self::BuilderStart | Self::OutOfMemory => 500,
            Self::Unauthorized
            | Self::PermissionDenied
            | Self::NotFound
            | Self::Rejected
            | Self::ImagePull
            | Self::PushFailed => 502,
            Self::Unreachable | Self::Unschedulable | Self::Evicted | Self::BuilderLost => 503,
            Self::Timeout => 504,
        }
    }
}

/// Shows the [`name`](Self::name).
impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and codes are promises: this table changes with a new kind only.
    const PROMISED: [(ErrorKind, &str, u8, u16); 19] = [
        (ErrorKind::Config, "config", 78, 500),
        (ErrorKind::Context, "context", 65, 422),
        (ErrorKind::Unsupported, "unsupported", 64, 422),
        (ErrorKind::Unauthorized, "unauthorized", 77, 502),
        (ErrorKind::PermissionDenied, "permission-denied", 77, 502),
        (ErrorKind::NotFound, "not-found", 66, 502),
        (ErrorKind::Unreachable, "unreachable", 69, 503),
        (ErrorKind::Rejected, "rejected", 73, 502),
        (ErrorKind::Unschedulable, "unschedulable", 75, 503),
        (ErrorKind::ImagePull, "image-pull", 69, 502),
        (ErrorKind::BuilderStart, "builder-start", 71, 500),
        (ErrorKind::OutOfMemory, "out-of-memory", 71, 500),
        (ErrorKind::Evicted, "evicted", 75, 503),
        (ErrorKind::BuilderLost, "builder-lost", 75, 503),
        (ErrorKind::BuildFailed, "build-failed", 1, 422),
        (ErrorKind::PushFailed, "push-failed", 74, 502),
        (ErrorKind::Timeout, "timeout", 124, 504),
        (ErrorKind::Cancelled, "cancelled", 130, 409),
        (ErrorKind::Unexpected, "unexpected", 70, 500),
    ];

    #[test]
    fn names_and_codes_stay_and_names_are_what_is_serialised() {
        for (kind, name, code, status) in PROMISED {
            assert_eq!((kind.name(), kind.exit_code(), kind.to_string().as_str()), (name, code, name));
            assert_eq!(kind.http_status(), status, "{name}");
            assert_eq!(serde_json::to_value(kind).expect("JSON"), name);
            assert_eq!(serde_json::from_value::<ErrorKind>(name.into()).expect("JSON"), kind);
        }
    }

    #[test]
    fn a_kind_of_a_newer_service_is_unexpected() {
        assert_eq!(
            serde_json::from_str::<ErrorKind>("\"out-of-fuel\"").expect("JSON"),
            ErrorKind::Unexpected
        );
    }
}
