//! What stands in the way of a pod, or ended it.

use std::fmt;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind};

use crate::api::Refusal;

/// Why a pod cannot run, or died.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    /// The fact. What is decided is decided by it, and the maker of the pod words the remedy after it.
    pub cause: Cause,
    /// The class of the failure.
    pub kind: ErrorKind,
    /// What happened, naming the pod.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the same may succeed when it is tried again.
    pub retryable: bool,
}

/// What keeps a pod from running, or ended it, as far as something depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Its container took more memory than its limit.
    OutOfMemory,
    /// Its node ran short of something.
    Evicted,
    /// No node can take it.
    Unschedulable(Lack),
    /// An image cannot be pulled.
    ImagePull,
    /// Its container cannot be started, or ends again and again.
    Start,
    /// The cluster's rules do not allow it.
    Refused(Refusal),
    /// The object does not exist.
    Missing,
    /// Another program, or a newer version of this one, has made the object.
    Foreign,
    /// Somebody else has changed or stopped the object while it was waited for.
    Overtaken,
    /// None of these.
    Other,
}

/// What nodes lack for a pod, as the scheduler says it: several things at once if nodes differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lack {
    /// Memory, CPU, disk or a place apart from another pod: what becomes free when that pod ends.
    pub room: bool,
    /// A port of the node.
    pub port: bool,
}

impl Lack {
    /// Reads the scheduler's message. Source of the words: Kubernetes, `pkg/scheduler/framework/plugins`
    /// (`noderesources/fit.go`, `interpodaffinity/filtering.go`, `nodeports/node_ports.go`).
    pub(crate) fn of(message: &str) -> Self {
        let room = ["Insufficient ", "anti-affinity"].iter().any(|words| message.contains(words));
        Self { room, port: message.contains("free ports") }
    }
}

/// What to do about the troubles of a pod, in the words of whoever knows its options. Each is a hint as people read it.
#[derive(Clone, Copy, Debug)]
pub struct Remedies {
    /// Its container took more memory than its limit.
    pub memory: &'static str,
    /// Its node ran short of something and evicted it.
    pub evicted: &'static str,
    /// No node can take it.
    pub scheduling: &'static str,
    /// The port of the node that it needs is taken; `None` for pods that need none.
    pub port: Option<&'static str>,
    /// Its image cannot be pulled.
    pub image: &'static str,
    /// Its container cannot be started, or ends again and again.
    pub start: &'static str,
    /// It takes more than is left of the namespace's `ResourceQuota`.
    pub quota: &'static str,
    /// Pod Security does not allow it.
    pub pod_security: &'static str,
    /// Another rule does not allow what it needs of its node: privileges, or a port.
    pub privileges: &'static str,
}

impl Remedies {
    /// Returns the remedy for `cause`; `None` if it does not depend on whose pod it is.
    pub(crate) fn against(&self, cause: Cause) -> Option<&'static str> {
        match cause {
            Cause::OutOfMemory => Some(self.memory),
            Cause::Evicted => Some(self.evicted),
            Cause::Unschedulable(Lack { port: true, .. }) => self.port.or(Some(self.scheduling)),
            Cause::Unschedulable(_) => Some(self.scheduling),
            Cause::ImagePull => Some(self.image),
            Cause::Start => Some(self.start),
            Cause::Refused(Refusal::Quota) => Some(self.quota),
            Cause::Refused(Refusal::PodSecurity) => Some(self.pod_security),
            Cause::Refused(Refusal::Privileges) => Some(self.privileges),
            Cause::Refused(refusal) => Some(refusal.remedy()),
            Cause::Missing | Cause::Foreign | Cause::Overtaken | Cause::Other => None,
        }
    }
}

impl Diagnosis {
    /// A failure of `kind`. `remedies` say what to do about its `cause`.
    pub(crate) fn of(cause: Cause, kind: ErrorKind, message: String, remedies: &Remedies) -> Self {
        let hint = remedies.against(cause).map(str::to_owned);
        Self { cause, kind, message, hint, retryable: false }
    }

    /// A failure whose cause decides nothing, and what to do about it.
    pub fn other(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), Some(hint.into()));
        Self { cause: Cause::Other, kind, message, hint, retryable: false }
    }

    /// Says what it comes from.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// Says that the same may succeed when it is tried again.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Diagnosis> for Error {
    fn from(diagnosis: Diagnosis) -> Self {
        let mut error = Self::new(diagnosis.kind, diagnosis.message);
        if let Some(hint) = diagnosis.hint {
            error = error.with_hint(hint);
        }
        if diagnosis.retryable { error.retryable() } else { error }
    }
}

/// Something that keeps a pod from starting, and how long it may last before it is taken for final.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    /// What it is.
    pub(crate) diagnosis: Diagnosis,
    /// How long it may last.
    pub(crate) grace: Duration,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Each says which it is.
    pub(crate) const REMEDIES: Remedies = Remedies {
        memory: "more memory",
        evicted: "a larger node",
        scheduling: "fewer demands on nodes",
        port: None,
        image: "another image",
        start: "a better command",
        quota: "a smaller pod",
        pod_security: "another level",
        privileges: "fewer privileges",
    };

    #[test]
    fn only_pods_with_a_port_hear_of_a_port() {
        let message =
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
        let cause = Cause::Unschedulable(Lack::of(message));
        assert_eq!(REMEDIES.against(cause), Some(REMEDIES.scheduling));
        let with_port = Remedies { port: Some("free the port"), ..REMEDIES };
        assert_eq!(with_port.against(cause), with_port.port);
        assert_eq!(
            with_port.against(Cause::Unschedulable(Lack::of("1 Insufficient memory."))),
            Some(REMEDIES.scheduling)
        );
    }

    #[test]
    fn a_smaller_pod_does_not_help_against_a_quota_of_objects() {
        let hint = REMEDIES.against(Cause::Refused(Refusal::QuotaOfObjects));
        assert_eq!(hint, Some("raise the namespace's ResourceQuota"));
    }
}
