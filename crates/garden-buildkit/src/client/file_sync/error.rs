use garden_build_core::context::{ContextError, FilterError};
use garden_build_core::{Error, ErrorKind};
use tonic::Code;

/// Why a directory did not reach the daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Something in the directory cannot be read, cannot be sent, or has changed.
    #[error(transparent)]
    Context(#[from] ContextError),

    /// The Dockerfile uses a directory that the build does not have.
    #[error("the daemon asked for the directory `{0}`, which this build does not have")]
    UnknownDirectory(String),

    /// A pattern or a path of the filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),

    /// The call itself cannot be understood.
    #[error("the daemon's request for a directory cannot be understood: {0}")]
    Request(String),

    /// A packet is not what it has to be.
    #[error("the daemon does not keep to the protocol of file transfers: {0}")]
    Protocol(String),

    /// The daemon could not take what was sent.
    #[error("the daemon could not store the files: {0}")]
    Receiver(String),

    /// The daemon ended the transfer too early: because the build failed elsewhere, or the connection did.
    #[error("the daemon broke off the transfer of the directory `{0}`")]
    Aborted(String),

    /// A thread of ours panicked.
    #[error("a thread that reads files ended unexpectedly")]
    Panicked,
}

impl SyncError {
    /// Returns whether the failure began on this side, so that whatever the daemon reports is its echo.
    pub fn began_here(&self) -> bool {
        !matches!(self, Self::Receiver(_) | Self::Aborted(_))
    }

    /// The status with which the call ends. The daemon treats none of them specially.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::UnknownDirectory(_) => Code::NotFound,
            Self::Context(ContextError::Cancelled) => Code::Cancelled,
            Self::Context(_) => Code::FailedPrecondition,
            Self::Filter(_) | Self::Request(_) | Self::Protocol(_) => Code::InvalidArgument,
            Self::Receiver(_) | Self::Aborted(_) => Code::Aborted,
            Self::Panicked => Code::Internal,
        }
    }
}

impl From<SyncError> for Error {
    fn from(error: SyncError) -> Self {
        let message = error.to_string();
        match error {
            SyncError::Context(error) => error.into(),
            SyncError::UnknownDirectory(_) => Self::new(ErrorKind::NotFound, message)
                .with_hint("correct the name behind `--from=`, `from=` or `FROM` in the Dockerfile"),
            SyncError::Filter(error) => Self::new(ErrorKind::Context, message)
                .with_hint("correct the path in the Dockerfile's COPY or ADD, or in the ignore file")
                .with_source(error),
            SyncError::Aborted(_) => {
                Self::new(ErrorKind::Unreachable, message).with_source(error).retryable()
            }
            error => Self::new(ErrorKind::Unexpected, message).with_source(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_the_contexts_fault_by_name() {
        let error = Error::from(SyncError::from(ContextError::Changed("src/main.rs".into())));
        assert_eq!(error.kind(), ErrorKind::Context);
        assert!(error.message().contains("`src/main.rs` changed"), "{error}");
    }

    #[test]
    fn what_the_daemon_reports_is_not_taken_for_a_cause_of_ours() {
        assert!(!SyncError::Receiver("no space left on device".to_owned()).began_here());
        assert!(!SyncError::Aborted("context".to_owned()).began_here());
        assert!(SyncError::UnknownDirectory("x".to_owned()).began_here());
    }
}
