//! What stands in the way of a pod, or ended it.
//!
//! Why: docs/decisions/62-facts-travel-words-come-last.md

use std::fmt;
use std::time::Duration;

use garden_build_core::{Error, ErrorKind, Hint, Remedy};

use crate::api::Refusal;

/// Why a pod cannot run, or died.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The fact. What is decided is decided by it, and the maker of the pod words the remedy after it.
    pub cause: Cause,
    /// The class of the failure.
    pub kind: ErrorKind,
    /// What happened, naming the pod.
    pub message: String,
    /// What to do about it.
    pub hint: Option<Hint>,
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
    /// It wrote more to its node's disk than its limit.
    DiskLimit,
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
    /// Reads the scheduler's message. Source of the words: Kubernetes 1.34, `pkg/scheduler/framework/plugins`
    /// (`noderesources/fit.go`, `interpodaffinity/filtering.go`, `nodeports/node_ports.go`).
    pub(crate) fn of(message: &str) -> Self {
        let is_room = |reason: &str| {
            reason.starts_with("Insufficient ")
                || [
                    "Too many pods",
                    "node(s) didn't match pod anti-affinity rules",
                    "node(s) didn't satisfy existing pods anti-affinity rules",
                ]
                .contains(&reason)
        };
        Self {
            room: reasons(message).any(is_room),
            port: reasons(message)
                .any(|reason| reason == "node(s) didn't have free ports for the requested pod ports"),
        }
    }
}

/// Whether the pod waits for a volume that is on its way.
/// Source of the words: Kubernetes 1.34, `pkg/scheduler/framework/plugins/volumebinding/volume_binding.go`.
pub(crate) fn waits_for_volume(message: &str) -> bool {
    reasons(message).any(|reason| reason == "pod has unbound immediate PersistentVolumeClaims")
}

/// Returns what the scheduler has against the nodes, without how many they are:
/// `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods. preemption: …`.
/// Source of the form: Kubernetes 1.34, `pkg/scheduler/framework/types.go` (`FitError`).
fn reasons(message: &str) -> impl Iterator<Item = &str> {
    let list = message.split_once(" nodes are available: ").map_or(message, |(_, list)| list);
    let list = list.split_once(". ").map_or(list, |(reasons, _)| reasons);
    list.trim_end_matches('.').split(", ").map(|reason| match reason.split_once(' ') {
        Some((count, reason)) if count.bytes().all(|byte| byte.is_ascii_digit()) => reason,
        _ => reason,
    })
}

/// What to do about the troubles of a pod, in the words of whoever knows its options. Each is a hint as people read it.
#[derive(Clone, Copy, Debug)]
pub struct Remedies {
    /// Its container took more memory than its limit.
    pub memory: Remedy,
    /// Its node ran short of something and evicted it.
    pub evicted: Remedy,
    /// It was evicted because it wrote more to the node's disk than its limit of ephemeral storage.
    pub disk_limit: Remedy,
    /// No node can take it.
    pub scheduling: Remedy,
    /// The port of the node that it needs is taken; `None` for pods that need none.
    pub port: Option<Remedy>,
    /// Its image cannot be pulled.
    pub image: Remedy,
    /// Its container cannot be started, or ends again and again.
    pub start: Remedy,
    /// It takes more than is left of the namespace's `ResourceQuota`.
    pub quota: Remedy,
    /// Its amounts are none that the namespace's `LimitRange` allows.
    pub limit_range: Remedy,
    /// Pod Security does not allow it.
    pub pod_security: Remedy,
    /// Another rule does not allow what it needs of its node: privileges, or a port.
    pub privileges: Remedy,
}

impl Remedies {
    /// Returns the remedy for `cause`; `None` if it does not depend on whose pod it is.
    pub(crate) fn against(&self, cause: Cause) -> Option<Remedy> {
        match cause {
            Cause::OutOfMemory => Some(self.memory),
            Cause::Evicted => Some(self.evicted),
            Cause::DiskLimit => Some(self.disk_limit),
            Cause::Unschedulable(Lack { port: true, .. }) => self.port.or(Some(self.scheduling)),
            Cause::Unschedulable(_) => Some(self.scheduling),
            Cause::ImagePull => Some(self.image),
            Cause::Start => Some(self.start),
            Cause::Refused(Refusal::Quota) => Some(self.quota),
            Cause::Refused(Refusal::LimitRange) => Some(self.limit_range),
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
        let hint = remedies.against(cause).map(Hint::from);
        Self { cause, kind, message, hint, retryable: false }
    }

    /// A failure whose cause decides nothing, and what to do about it.
    pub fn other(kind: ErrorKind, message: impl Into<String>, hint: impl Into<Hint>) -> Self {
        let (message, hint) = (message.into(), Some(hint.into()));
        Self { cause: Cause::Other, kind, message, hint, retryable: false }
    }

    /// Returns what to do about it, in words.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_ref().map(|hint| hint.text.as_str())
    }

    /// States that it is of another class for whoever asked.
    #[must_use]
    pub fn of_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Describes what it comes from.
    #[must_use]
    pub fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// States that the same may succeed when it is tried again.
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
        memory: Remedy::new("more memory"),
        evicted: Remedy::new("a larger node"),
        disk_limit: Remedy::new("more disk"),
        scheduling: Remedy::new("fewer demands on nodes"),
        port: None,
        image: Remedy::new("another image"),
        start: Remedy::new("a better command"),
        quota: Remedy::new("a smaller pod"),
        limit_range: Remedy::new("a pod within the range"),
        pod_security: Remedy::new("another level"),
        privileges: Remedy::new("fewer privileges"),
    };

    #[test]
    fn only_pods_with_a_port_hear_of_a_port() {
        let message =
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
        let cause = Cause::Unschedulable(Lack::of(message));
        assert_eq!(REMEDIES.against(cause), Some(REMEDIES.scheduling));
        let with_port = Remedies { port: Some(Remedy::new("free the port")), ..REMEDIES };
        assert_eq!(with_port.against(cause), with_port.port);
        assert_eq!(
            with_port.against(Cause::Unschedulable(Lack::of("1 Insufficient memory."))),
            Some(REMEDIES.scheduling)
        );
    }

    #[test]
    fn what_nodes_lack_is_read_from_the_scheduler_s_reasons_only() {
        let lack = |message: &str| Lack::of(&format!("0/3 nodes are available: {message}"));
        let room = Lack { room: true, port: false };
        for message in [
            "1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
            "3 Too many pods. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
            "3 node(s) didn't match pod anti-affinity rules.",
        ] {
            assert_eq!(lack(message), room, "{message}");
        }
        let tainted = "3 node(s) had untolerated taint {example/Insufficient: anti-affinity of free ports}.";
        assert_eq!(lack(tainted), Lack::default());
        assert!(waits_for_volume(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are available."
        ));
        assert!(!waits_for_volume(
            "0/1 nodes are available: 1 node(s) had untolerated taint {x: unbound immediate PersistentVolumeClaims}."
        ));
    }

    #[test]
    fn a_smaller_pod_does_not_help_against_a_quota_of_objects() {
        let hint = REMEDIES.against(Cause::Refused(Refusal::QuotaOfObjects));
        assert_eq!(hint.map(Remedy::text), Some("raise the namespace's ResourceQuota"));
    }

    #[test]
    fn a_quota_that_grants_nothing_or_wants_amounts_said_is_not_cured_by_a_smaller_pod() {
        for refusal in [Refusal::QuotaOfNone, Refusal::QuotaUnspecified] {
            let hint = REMEDIES.against(Cause::Refused(refusal)).expect("a remedy");
            assert!(hint.text().contains("ResourceQuota") && hint != REMEDIES.quota, "{hint}");
        }
        assert_eq!(REMEDIES.against(Cause::Refused(Refusal::LimitRange)), Some(REMEDIES.limit_range));
    }
}
