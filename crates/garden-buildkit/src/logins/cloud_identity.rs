//! The identity that a cloud gives the daemon's pod, by annotations of its service account.
//!
//! kaniko uses such an identity by itself. `BuildKit` knows only what a client tells it, so the helper of the cloud
//! is asked in the pod, even if no secret names it.

use std::collections::BTreeMap;

use garden_registry::HelperQuestion;
use garden_registry::clouds::{
    is_elastic_container_registry, is_google_artifact_registry, is_google_container_registry,
};

/// Sources: AWS, "IAM roles for service accounts"; Google Cloud, "Workload Identity Federation for GKE".
const AWS: &str = "eks.amazonaws.com/role-arn";
const GOOGLE: &str = "iam.gke.io/gcp-service-account";

/// Returns what to ask in a pod whose service account has `annotations`; `None` if they give no identity at the
/// registry `host`.
pub(super) fn question(annotations: &BTreeMap<String, String>, host: &str) -> Option<HelperQuestion> {
    let (annotation, helper) = match host.split(':').next().unwrap_or_default() {
        name if is_elastic_container_registry(name) => (AWS, "ecr-login"),
        name if is_google_container_registry(name) || is_google_artifact_registry(name) => (GOOGLE, "gcr"),
        _ => return None,
    };
    annotations.contains_key(annotation).then_some(())?;
    let origin = format!("`{annotation}` in clusterBuildkit.serviceAccountAnnotations");
    HelperQuestion::about(host, helper, &origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_of_a_cloud_is_asked_for_its_own_registries_only() {
        let aws = BTreeMap::from([(AWS.to_owned(), "arn:aws:iam::1:role/build".to_owned())]);
        let google = BTreeMap::from([(GOOGLE.to_owned(), "build@team.iam.gserviceaccount.com".to_owned())]);
        for (annotations, host, expected) in [
            (&aws, "1.dkr.ecr.eu-west-1.amazonaws.com", Some("ecr-login")),
            (&aws, "public.ecr.aws", Some("ecr-login")),
            (&google, "eu.gcr.io", Some("gcr")),
            (&google, "europe-west1-docker.pkg.dev", Some("gcr")),
            (&google, "1.dkr.ecr.eu-west-1.amazonaws.com", None),
            (&aws, "gcr.io", None),
            (&aws, "registry-1.docker.io", None),
            (&BTreeMap::new(), "gcr.io", None),
        ] {
            let question = question(annotations, host);
            let helper = question.as_ref().map(|question| question.helper.as_str());
            assert_eq!(helper, expected, "{host}");
            assert!(question.is_none_or(|question| question.server == host));
        }
    }
}
