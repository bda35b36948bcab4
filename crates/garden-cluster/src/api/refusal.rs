//! What the cluster's rules have against an object. The API server says it in a status, and controllers that make pods
//! in conditions and events, in the same words.

/// Which rule refuses an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The object takes more of an amount (memory, CPU, storage) than is left of the namespace's `ResourceQuota`.
    Quota,
    /// The `ResourceQuota` allows no further object of its kind, however small.
    QuotaOfObjects,
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
    /// Reads what the cluster says. Sources of the words: Kubernetes,
    /// `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota` (`exceeded quota: NAME, requested: pods=1, …`),
    /// `plugin/pkg/admission/serviceaccount`, `staging/src/k8s.io/pod-security-admission/admission`, and for rights
    /// `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go` (`User "x" cannot create …`).
    pub(crate) fn of(message: &str) -> Self {
        if message.contains("exceeded quota") || message.contains("failed quota") {
            return if counts_objects(message) { Self::QuotaOfObjects } else { Self::Quota };
        }
        let says = |signs: &[&str]| signs.iter().any(|sign| message.contains(sign));
        if says(&["error looking up service account"]) {
            Self::NoServiceAccount
        } else if says(&["PodSecurity"]) {
            Self::PodSecurity
        } else if says(&["User \""]) && says(&[" cannot "]) {
            // A rule of the cluster's own may say that something cannot be; only who lacks a right is named.
            Self::Rights
        } else if says(&["hostPort", "rivileged"]) {
            Self::Privileges
        } else {
            Self::Other
        }
    }

    /// Returns what helps against it, whatever object it is about.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Quota | Self::QuotaOfObjects => "raise the namespace's ResourceQuota",
            Self::PodSecurity => {
                "label the namespace with a Pod Security level that allows this, or use another namespace"
            }
            Self::Privileges | Self::NoServiceAccount | Self::Rights | Self::Other => {
                "the cluster's admission rules or validation do not allow this object"
            }
        }
    }
}

/// Whether all that was asked for too much is a number of objects. Only what exceeds the quota is named.
/// Source: Kubernetes, "Resource Quotas", section "Object count quota".
fn counts_objects(message: &str) -> bool {
    let Some((_, requested)) = message.split_once("requested: ") else { return false };
    let requested = requested.split_once(", used: ").map_or(requested, |(requested, _)| requested);
    let kinds = ["pods", "persistentvolumeclaims", "services", "secrets", "configmaps"];
    requested.split(',').all(|amount| {
        let resource = amount.split('=').next().unwrap_or_default().trim();
        resource.starts_with("count/") || kinds.contains(&resource)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_known_by_its_words() {
        let quota = |requested: &str| {
            format!(
                r#"pods "b" is forbidden: exceeded quota: small, requested: {requested}, used: x=1, limited: x=1"#
            )
        };
        let cases = [
            (quota("requests.memory=64Mi"), Refusal::Quota),
            (quota("pods=1,requests.memory=64Mi"), Refusal::Quota),
            (quota("requests.storage=20Gi"), Refusal::Quota),
            (quota("pods=1"), Refusal::QuotaOfObjects),
            (quota("count/persistentvolumeclaims=1,persistentvolumeclaims=1"), Refusal::QuotaOfObjects),
            ("failed quota: small: must specify limits.memory".to_owned(), Refusal::Quota),
            (
                r#"violates PodSecurity "baseline:latest": privileged (hostPort 5000)"#.to_owned(),
                Refusal::PodSecurity,
            ),
            ("Privileged containers are not allowed".to_owned(), Refusal::Privileges),
            ("error looking up service account a/default: not found".to_owned(), Refusal::NoServiceAccount),
            (r#"pods is forbidden: User "dev" cannot create resource "pods""#.to_owned(), Refusal::Rights),
            ("denied by a webhook".to_owned(), Refusal::Other),
            (
                r#"admission webhook "rules" denied the request: an image without a tag cannot be used"#
                    .to_owned(),
                Refusal::Other,
            ),
            (
                "admission webhook \"rules\" denied the request: pods cannot be privileged".to_owned(),
                Refusal::Privileges,
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(Refusal::of(&message), expected, "{message}");
        }
    }
}
