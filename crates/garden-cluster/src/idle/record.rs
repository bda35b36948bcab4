//! What stands on a Deployment about its use, and what follows from it.
//!
//! All of it is on the Deployment alone: its pods stay as they are when it changes.

use garden_config::IdleAfter;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::ownership::{MANAGED_BY_LABEL, MANAGER};
use crate::service::{annotation, is_stopped};

/// On a Deployment of ours: for how long it is kept without use, as whoever used it last wants it. One without this is never scaled to
/// zero.
pub const IDLE_AFTER: &str = "garden-build/idle-after";

/// On a Deployment of ours: when it was known to be in use, the last time.
const LAST_USED: &str = "garden-build/last-used";

/// On a Deployment that was scaled to zero because nobody used it: what [`LAST_USED`] was then. As soon as that is something else, it
/// means nothing.
const STOPPED: &str = "garden-build/stopped-unused-since";

/// What stands there of its use may be as old as this part of the time that it is kept.
const PART: i64 = 8;

/// Records on a Deployment that is about to be written that it is in use `now`, by the API server's clock.
pub fn used_at(metadata: &mut ObjectMeta, now: Timestamp) {
    metadata.annotations.get_or_insert_default().insert(LAST_USED.to_owned(), now.to_string());
}

/// Whether somebody who uses it, and wants it kept for `wanted`, has to say so, as what stands there is old or something else.
pub(super) fn is_news(live: &Deployment, now: Timestamp, wanted: IdleAfter) -> bool {
    annotation(&live.metadata, IDLE_AFTER) != wanted.to_string() || is_stale(live, now)
}

/// Whether somebody who goes on using it has to say so.
pub(super) fn is_stale(live: &Deployment, now: Timestamp) -> bool {
    kept_for(live).is_some_and(|seconds| unused_for(live, now) >= seconds / PART)
}

/// Whether nobody has used it for as long as it is kept. It is also known to run, and to be ours.
pub(super) fn is_unused(live: &Deployment, now: Timestamp) -> bool {
    let is_over = kept_for(live).is_some_and(|seconds| unused_for(live, now) >= seconds + seconds / PART);
    is_over && is_ours(live) && !is_stopped(live) && live.metadata.deletion_timestamp.is_none()
}

/// Whether it was scaled to zero because nobody used it, and is so still.
pub(super) fn is_asleep(live: &Deployment) -> bool {
    is_stopped(live)
        && !stopped_at(live).is_empty()
        && stopped_at(live) == annotation(&live.metadata, LAST_USED)
}

/// What says of its last stop for want of use when it had been used; nothing if there was none.
pub(super) fn stopped_at(live: &Deployment) -> &str {
    annotation(&live.metadata, STOPPED)
}

pub(super) fn is_ours(live: &Deployment) -> bool {
    let labels = live.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_some_and(|manager| manager == MANAGER)
}

/// The change that says that somebody uses it, and wants it kept for `idle_after`.
pub(super) fn begun(now: Timestamp, idle_after: IdleAfter) -> Value {
    let annotations = json!({ LAST_USED: now.to_string(), IDLE_AFTER: idle_after.to_string() });
    json!({ "metadata": { "annotations": annotations } })
}

/// The same, and starts it again.
pub(super) fn woken(now: Timestamp, idle_after: IdleAfter) -> Value {
    let mut change = begun(now, idle_after);
    change["spec"] = json!({ "replicas": 1 });
    change
}

/// The change that says that it is still in use, unless it was changed since it was `live`.
pub(super) fn going_on(live: &Deployment, now: Timestamp) -> Value {
    let annotations = json!({ LAST_USED: now.to_string() });
    json!({ "metadata": { "annotations": annotations, "resourceVersion": live.metadata.resource_version } })
}

/// The change that scales it to zero, unless it was changed since it was `live`.
pub(super) fn stopped(live: &Deployment) -> Value {
    let last_used = match annotation(&live.metadata, LAST_USED) {
        "" => last_used(live).map(|time| time.to_string()).unwrap_or_default(),
        stated => stated.to_owned(),
    };
    let annotations = json!({ LAST_USED: last_used, STOPPED: last_used });
    json!({
        "metadata": { "annotations": annotations, "resourceVersion": live.metadata.resource_version },
        "spec": { "replicas": 0 },
    })
}

/// For how many seconds it is kept without use; `None` for ever. What somebody has written by hand may be less than whoever uses it can
/// keep up with.
fn kept_for(live: &Deployment) -> Option<i64> {
    match IdleAfter::parse(annotation(&live.metadata, IDLE_AFTER))? {
        IdleAfter::Seconds(seconds) => Some(i64::from(seconds.max(IdleAfter::LEAST_SECONDS))),
        _ => None,
    }
}

/// For how many seconds it has not been known to be in use; none if API servers differ about the time.
fn unused_for(live: &Deployment, now: Timestamp) -> i64 {
    last_used(live).map_or(0, |last| now.as_second().saturating_sub(last.as_second()).max(0))
}

/// When it was last used; if nobody has yet, when it was made.
fn last_used(live: &Deployment) -> Option<Timestamp> {
    let stated = annotation(&live.metadata, LAST_USED).parse().ok();
    stated.or_else(|| live.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR_HOURS: IdleAfter = IdleAfter::Seconds(4 * 3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// A Deployment of ours, after this change of it. It was used at the second 0, and is kept for four hours.
    fn live(change: &Value) -> Deployment {
        let mut live = json!({
            "metadata": {
                "name": "a", "namespace": "b", "resourceVersion": "7", "labels": { MANAGED_BY_LABEL: MANAGER },
                "annotations": { LAST_USED: at(0).to_string(), IDLE_AFTER: "4h" }, "creationTimestamp": at(-60).to_string(),
            },
            "spec": { "replicas": 1, "selector": {}, "template": { "spec": { "containers": [] } } },
        });
        merge(&mut live, change);
        serde_json::from_value(live).expect("a Deployment")
    }

    fn merge(object: &mut Value, change: &Value) {
        match (object, change) {
            (Value::Object(fields), Value::Object(changes)) => {
                for (name, change) in changes {
                    merge(fields.entry(name.clone()).or_insert(Value::Null), change);
                }
            }
            (object, change) => *object = change.clone(),
        }
    }

    fn annotated(name: &str, value: &str) -> Value {
        json!({ "metadata": { "annotations": { name: value } } })
    }

    #[test]
    fn it_is_unused_after_its_own_time_and_an_eighth() {
        let unused = |change: &Value, after: i64| is_unused(&live(change), at(after));
        let nothing = json!({});
        assert!(!unused(&nothing, 4 * 3600 + 1799));
        assert!(unused(&nothing, 4 * 3600 + 1800));
        assert!(unused(&annotated(IDLE_AFTER, "30m"), 3600));
        for kept in ["never", "", "soon", "9999999999h", "8h"] {
            assert!(!unused(&annotated(IDLE_AFTER, kept), 5 * 3600), "{kept}");
        }
        // A value that somebody has written by hand must not stop what is in use.
        assert!(!unused(&annotated(IDLE_AFTER, "1s"), 300));
        // It was made a minute before the second 0.
        assert!(unused(&annotated(LAST_USED, ""), 4 * 3600 + 1740));
        assert!(!unused(&annotated(LAST_USED, "9999-01-01T00:00:00Z"), i64::from(u32::MAX)));
    }

    #[test]
    fn what_is_stopped_going_or_somebody_else_s_is_left_alone() {
        for change in [
            json!({ "spec": { "replicas": 0 } }),
            json!({ "spec": { "paused": true } }),
            json!({ "metadata": { "deletionTimestamp": at(1).to_string() } }),
            json!({ "metadata": { "labels": { MANAGED_BY_LABEL: "Helm" } } }),
        ] {
            assert!(!is_unused(&live(&change), at(1_000_000)), "{change}");
        }
    }

    #[test]
    fn use_is_news_only_when_an_eighth_of_the_time_has_passed_or_another_one_is_wanted() {
        let nothing = live(&json!({}));
        assert!(!is_news(&nothing, at(1799), FOUR_HOURS) && !is_stale(&nothing, at(1799)));
        assert!(is_news(&nothing, at(1800), FOUR_HOURS) && is_stale(&nothing, at(1800)));
        assert!(
            is_news(&nothing, at(1), IdleAfter::Never) && is_news(&nothing, at(1), IdleAfter::Seconds(600))
        );
        assert!(!is_stale(&live(&annotated(IDLE_AFTER, "never")), at(1_000_000)));
        // One that an earlier version has made.
        let unrecorded = live(&annotated(IDLE_AFTER, ""));
        assert!(is_news(&unrecorded, at(1), FOUR_HOURS) && !is_stale(&unrecorded, at(1_000_000)));
        // An API server whose clock is behind that of the other.
        assert!(!is_news(&nothing, at(-500), FOUR_HOURS));
    }

    #[test]
    fn it_is_asleep_from_its_stop_until_it_is_used() {
        let awake = live(&json!({}));
        let asleep = live(&stopped(&awake));
        assert!(is_asleep(&asleep) && !is_asleep(&awake));
        let woken = woken(at(10), FOUR_HOURS);
        let mut again = stopped(&awake);
        merge(&mut again, &woken);
        assert!(!is_asleep(&live(&again)));
        // Somebody scales it to zero afterwards.
        merge(&mut again, &json!({ "spec": { "replicas": 0 } }));
        assert!(!is_asleep(&live(&again)));
        // One that nobody has ever used.
        let unused = live(&annotated(LAST_USED, ""));
        assert!(is_asleep(&live(&stopped(&unused))));
        assert!(!is_asleep(&live(&json!({ "spec": { "replicas": 0 } }))), "somebody else's doing");
    }

    #[test]
    fn only_what_nobody_has_changed_is_changed_and_never_its_pods() {
        let live = live(&json!({}));
        for change in [going_on(&live, at(5)), stopped(&live)] {
            assert_eq!(change["metadata"]["resourceVersion"], "7", "{change}");
        }
        for change in
            [begun(at(5), FOUR_HOURS), woken(at(5), FOUR_HOURS), going_on(&live, at(5)), stopped(&live)]
        {
            let names = |part: &Value| -> Vec<String> {
                part.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
            };
            let of_pods = [names(&change["spec"]), names(&change["metadata"]["annotations"])].concat();
            assert!(
                of_pods
                    .iter()
                    .all(|name| ["replicas", IDLE_AFTER, LAST_USED, STOPPED].contains(&name.as_str())),
                "{change}"
            );
        }
    }
}
