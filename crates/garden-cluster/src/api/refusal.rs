//! What the cluster's rules have against an object. The API server says it in a status, and controllers that make pods
//! in conditions and events, in the same words.

mod quota;

use garden_build_core::Remedy;
use garden_build_core::words::{fits, parts};

/// Which rule refuses an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The object takes more of an amount (memory, CPU, storage) than is left of the namespace's `ResourceQuota`.
    Quota,
    /// The `ResourceQuota` allows no further object of its kind, however small.
    QuotaOfObjects,
    /// The `ResourceQuota` allows nothing at all of what the object takes.
    QuotaOfNone,
    /// The `ResourceQuota` wants every container to say how much it takes of something, and one does not.
    QuotaUnspecified,
    /// The `ResourceQuota` is only seconds old, and how much of it is used is not known yet.
    QuotaUnknown,
    /// The namespace's `LimitRange` allows other amounts only.
    LimitRange,
    /// Pod Security.
    PodSecurity,
    /// Another rule against privileged containers or ports of the node.
    Privileges,
    /// The namespace is only seconds old, and its service account is not there yet.
    NoServiceAccount,
    /// The user has no right to it.
    Rights,
    /// Another rule.
    Other,
}

impl Refusal {
    /// Reads what the cluster says: `pods "NAME" is forbidden: REASON`, or the reason alone.
    ///
    /// Sources of the words: Kubernetes 1.34, `staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go` (`NewForbidden`),
    /// `plugin/pkg/admission/serviceaccount/admission.go`, `staging/src/k8s.io/pod-security-admission/admission/admission.go`,
    /// and for rights `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`.
    pub(crate) fn of(message: &str) -> Self {
        // Neither a kind nor a name has a space.
        let reason = message.split_once(" is forbidden: ").map_or(message, |(_, reason)| reason);
        if let Some(refusal) = quota::refusal(reason) {
            return refusal;
        }
        if reason.starts_with("error looking up service account ") {
            Self::NoServiceAccount
        } else if reason.starts_with("violates PodSecurity \"") {
            Self::PodSecurity
        } else if fits(reason, &["User \"", "\" cannot "]) {
            // A rule of the cluster's own may say that something cannot be; only who lacks a right is named.
            Self::Rights
        } else if is_limit_range(reason) {
            Self::LimitRange
        } else if is_against_privileges(reason) {
            Self::Privileges
        } else {
            Self::Other
        }
    }

    /// Whether it goes by itself within seconds.
    pub(crate) fn passes(self) -> bool {
        matches!(self, Self::NoServiceAccount | Self::QuotaUnknown)
    }

    /// Returns what helps against it, whatever object it is about.
    pub(crate) fn remedy(self) -> Remedy {
        Remedy::new(match self {
            Self::Quota | Self::QuotaOfObjects => "raise the namespace's ResourceQuota",
            Self::QuotaOfNone => {
                "the namespace's ResourceQuota allows none of this: have it raised, or use another namespace"
            }
            Self::QuotaUnspecified => {
                "the namespace's ResourceQuota wants these amounts of each container, and the cluster has added one without them: \
                 give the namespace a LimitRange with defaults"
            }
            Self::QuotaUnknown => "try again in a moment: the namespace's ResourceQuota is new",
            Self::LimitRange => {
                "the namespace's LimitRange allows other amounts only: have it changed, or use another namespace"
            }
            Self::PodSecurity => {
                "label the namespace with a Pod Security level that allows this, or use another namespace"
            }
            Self::Privileges | Self::NoServiceAccount | Self::Rights | Self::Other => {
                "the cluster's admission rules or validation do not allow this object"
            }
        })
    }
}

/// `maximum cpu usage per Container is 2, but limit is 4`; several stand in brackets.
/// Source of the words: Kubernetes 1.34, `plugin/pkg/admission/limitranger/admission.go`.
fn is_limit_range(reason: &str) -> bool {
    let first = reason.strip_prefix('[').unwrap_or(reason);
    let (resource, rest) = first.split_once(' ').unwrap_or((first, ""));
    let is_bound = matches!(resource, "maximum" | "minimum") && fits(rest, &["", " usage per ", " is "]);
    is_bound || rest.starts_with("max limit to request ratio per ")
}

/// Kubernetes and its forerunner of Pod Security, `OpenShift`, GKE Autopilot, and the widespread rules of Gatekeeper and Kyverno.
///
/// Sources of the words: Kubernetes 1.34, `pkg/apis/core/validation/validation.go`, and 1.24, `pkg/security/podsecuritypolicy`;
/// `OpenShift`, `apiserver-library-go/pkg/securitycontextconstraints/sccadmission`; gatekeeper-library,
/// `library/pod-security-policy`; Kyverno, `policies/pod-security/baseline`.
fn is_against_privileges(reason: &str) -> bool {
    const RULES: [&str; 6] = [
        "Privileged containers are not allowed",
        "Privileged container is not allowed",
        "Privileged mode is disallowed",
        "The specified hostNetwork and hostPort are not allowed",
        "Host ports are not allowed",
        "Use of host ports is disallowed",
    ];
    const POLICIES: [&str; 2] = [
        "unable to validate against any pod security policy: ",
        "unable to validate against any security context constraint: ",
    ];
    let says_rule = |part: &str| {
        // Gatekeeper puts the name of its rule before it: `[no-privileges] …`.
        let unnamed = part.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        let rule = unnamed.map_or(part, |(_, rule)| rule);
        RULES.iter().any(|beginning| rule.starts_with(beginning))
    };
    POLICIES.iter().any(|beginning| reason.starts_with(beginning))
        || is_of_autopilot(reason)
        || reason.lines().flat_map(parts).any(|part| {
            says_rule(part.trim_start_matches('\'')) || part.ends_with("].securityContext.privileged")
        })
}

/// GKE Autopilot names its rules in JSON, as keys. A name or a value in it cannot hold an unescaped quote.
/// Source of the words: answers of its webhooks, of the years 2022 to 2026.
fn is_of_autopilot(reason: &str) -> bool {
    const WEBHOOKS: [&str; 2] =
        ["GKE Warden rejected the request ", "GKE Policy Controller rejected the request "];
    const RULES: [&str; 2] =
        [r#""[denied by autogke-disallow-privilege]":["#, r#""[denied by autogke-no-host-port]":["#];
    let says_webhook = |part: &str| WEBHOOKS.iter().any(|beginning| part.starts_with(beginning));
    let details = reason.lines().flat_map(parts).skip_while(|part| !says_webhook(part));
    details.skip(1).any(|part| RULES.iter().any(|rule| part.contains(rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_known_by_its_words() {
        let cases = [
            (
                r#"pods "b" is forbidden: violates PodSecurity "baseline:latest": privileged (container "b" must not set securityContext.privileged=true), hostPort (container "b" uses hostPort 5000)"#,
                Refusal::PodSecurity,
            ),
            (
                r#"Pod "b" is invalid: spec.containers[0].securityContext.privileged: Forbidden: disallowed by cluster policy"#,
                Refusal::Privileges,
            ),
            (
                r#"pods "b" is forbidden: unable to validate against any security context constraint: [provider "restricted-v2": .containers[0].privileged: Invalid value: true: Privileged containers are not allowed]"#,
                Refusal::Privileges,
            ),
            (
                r#"admission webhook "validation.gatekeeper.sh" denied the request: [psp-privileged-container] Privileged container is not allowed: b, securityContext: {"privileged": true}"#,
                Refusal::Privileges,
            ),
            (
                "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Pod/demo/b was blocked due to the following policies \n\ndisallow-host-ports:\n  host-ports-none: 'validation error: Use of host ports is disallowed. The fields spec.containers[*].ports[*].hostPort …'",
                Refusal::Privileges,
            ),
            (
                "admission webhook \"warden-validating.common-webhooks.networking.gke.io\" denied the request: GKE Warden rejected the request because it violates one or more constraints.\nViolations details: {\"[denied by autogke-disallow-privilege]\":[\"container buildkit is privileged; not allowed in Autopilot\"]}",
                Refusal::Privileges,
            ),
            (
                "admission webhook \"warden-validating.common-webhooks.networking.gke.io\" denied the request: GKE Warden rejected the request because it violates one or more constraints.\nViolations details: {\"[denied by autogke-no-host-port]\":[\"container b specifies host ports [5000], which are disallowed in Autopilot.\"]}",
                Refusal::Privileges,
            ),
            (
                r#"admission webhook "gkepolicy.common-webhooks.networking.gke.io" denied the request: GKE Policy Controller rejected the request because it violates one or more policies: {"[denied by autogke-disallow-hostnamespaces]":["enabling hostNetwork is not allowed in Autopilot. Requested by user: '', groups: 'system:authenticated'."],"[denied by autogke-disallow-privilege]":["container b is privileged; not allowed in Autopilot"]}"#,
                Refusal::Privileges,
            ),
            (
                "admission webhook \"gkepolicy.common-webhooks.networking.gke.io\" denied the request: GKE Warden rejected the request because it violates one or more constraints.\nViolations details: {\"[denied by autogke-node-affinity-selector-limitation]\":[\"Auto GKE disallows use of cluster-autoscaler.kubernetes.io/safe-to-evict=false annotation on workloads\"]}",
                Refusal::Other,
            ),
            (
                r#"pods "b" is forbidden: error looking up service account a/default: serviceaccount "default" not found"#,
                Refusal::NoServiceAccount,
            ),
            (
                r#"pods is forbidden: User "dev" cannot create resource "pods" in API group "" in the namespace "a""#,
                Refusal::Rights,
            ),
            (
                r#"pods "b" is forbidden: [maximum cpu usage per Container is 2, but limit is 4, maximum memory usage per Container is 4Gi, but limit is 8Gi]"#,
                Refusal::LimitRange,
            ),
            (
                r#"pods "b" is forbidden: minimum memory usage per Pod is 1Gi, but request is 536870912"#,
                Refusal::LimitRange,
            ),
            (
                r#"pods "b" is forbidden: cpu max limit to request ratio per Container is 4, but provided ratio is 40.000000"#,
                Refusal::LimitRange,
            ),
            (
                r#"pods "b" is forbidden: exceeded quota: small, requested: requests.memory=64Mi, used: requests.memory=1Gi, limited: requests.memory=1Gi"#,
                Refusal::Quota,
            ),
            ("denied by a webhook", Refusal::Other),
            (
                r#"admission webhook "rules" denied the request: an image without a tag cannot be used"#,
                Refusal::Other,
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(Refusal::of(message), expected, "{message}");
        }
    }

    #[test]
    fn names_decide_nothing() {
        for message in [
            r#"admission webhook "hostPort.example" denied the request: the image r.example/unprivileged is not signed"#,
            r#"pods "exceeded-quota" is forbidden: image exceeded quota of the webhook"#,
            r#"admission webhook "a" denied the request: no PodSecurity label on namespace"#,
            r#"admission webhook "a" denied the request: the rules are {"[denied by autogke-disallow-privilege]":["x"]}"#,
        ] {
            assert_eq!(Refusal::of(message), Refusal::Other, "{message}");
        }
    }
}
