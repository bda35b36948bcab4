//! Durations in JSON: whole milliseconds. For `#[serde(with = "…")]`, in fields whose name ends in `Ms`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes `duration` as whole milliseconds.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Reads whole milliseconds.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// A moment, since the Unix epoch. What is before that is the epoch.
pub(crate) mod since_epoch {
    use std::time::{SystemTime, UNIX_EPOCH};

    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&time.duration_since(UNIX_EPOCH).unwrap_or_default(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let since = super::deserialize(deserializer)?;
        UNIX_EPOCH.checked_add(since).ok_or_else(|| D::Error::custom("a time that no clock can show"))
    }
}
