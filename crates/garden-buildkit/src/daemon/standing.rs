//! How our Deployment in the cluster stands to the one that a build needs.

use garden_cluster::{configuration, configured_at, is_stopped};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::jiff::Timestamp;

/// What is to be done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// There is none.
    Absent,
    /// It has another configuration, which we or another client gave it at this time.
    Outdated { since: Option<Timestamp> },
    /// It has the right configuration, but somebody has scaled it to nothing or paused it.
    Stopped,
    /// There is nothing to change.
    Current,
}

pub(super) fn standing(live: Option<&Deployment>, wanted: &Deployment) -> Standing {
    match live {
        None => Standing::Absent,
        Some(live) if configuration(&live.metadata) != configuration(&wanted.metadata) => {
            Standing::Outdated { since: configured_at(&live.metadata) }
        }
        Some(live) if is_stopped(live) => Standing::Stopped,
        Some(_) => Standing::Current,
    }
}

/// Returns the wanted strategy if the present one is of another type.
pub(super) fn strategy_to_replace<'a>(live: &Deployment, wanted: &'a Deployment) -> Option<&'a str> {
    let (live, wanted): (Option<&DeploymentSpec>, Option<&DeploymentSpec>) =
        ((&live.spec).into(), (&wanted.spec).into());
    let present = live?.strategy.as_ref()?.type_.as_deref()?;
    let wanted = wanted?.strategy.as_ref()?.type_.as_deref()?;
    (present != wanted).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use garden_cluster::{CONFIGURATION, MANAGER};
    use serde_json::json;

    use super::*;
    use crate::spec::tests::settings;
    use crate::spec::{Storage, deployment};

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-01-02T00:00:00Z";

    #[test]
    fn an_unchanged_deployment_is_left_alone_whatever_else_somebody_changed() {
        let wanted = deployment(&settings());
        let mut live = wanted.clone();
        assert_eq!(standing(None, &wanted), Standing::Absent);
        assert_eq!(standing(Some(&live), &wanted), Standing::Current);
        live.metadata.annotations.get_or_insert_default().insert("by".to_owned(), "hand".to_owned());
        assert_eq!(standing(Some(&live), &wanted), Standing::Current);
    }

    #[test]
    fn a_deployment_that_somebody_stopped_is_started() {
        let wanted = deployment(&settings());
        for (field, value) in [("replicas", json!(0)), ("paused", json!(true))] {
            let mut live = serde_json::to_value(&wanted).expect("serialises");
            live["spec"][field] = value;
            let live: Deployment = serde_json::from_value(live).expect("a deployment");
            assert_eq!(standing(Some(&live), &wanted), Standing::Stopped, "{field}");
        }
    }

    #[test]
    fn an_outdated_deployment_tells_when_it_was_configured() {
        let wanted = deployment(&settings());
        let mut live = wanted.clone();
        live.metadata
            .annotations
            .get_or_insert_default()
            .insert(CONFIGURATION.to_owned(), "other".to_owned());
        live.metadata.managed_fields = serde_json::from_value(json!([
            { "manager": "kube-controller-manager", "operation": "Update", "time": NEW },
            { "manager": MANAGER, "operation": "Apply", "time": OLD },
        ]))
        .expect("entries");
        assert_eq!(standing(Some(&live), &wanted), Standing::Outdated { since: OLD.parse().ok() });
    }

    #[test]
    fn another_strategy_is_replaced_before_the_apply() {
        let without = deployment(&settings());
        let mut settings = settings();
        settings.options.storage = Some(Storage { size: 1024, storage_class: None });
        let with = deployment(&settings);
        assert_eq!(strategy_to_replace(&without, &with), Some("Recreate"));
        assert_eq!(strategy_to_replace(&with, &without), Some("RollingUpdate"));
        assert_eq!(strategy_to_replace(&with, &with), None);
    }
}
