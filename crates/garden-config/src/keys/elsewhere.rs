//! Keys that Garden knows and that stand for nothing here.

use crate::template::{Fault, LookedUp};

/// Explains why the key `first` stands for nothing here; `None` if it is not one of Garden's.
pub(super) fn look_up(first: &str) -> Option<Result<LookedUp, Fault>> {
    let elsewhere = ELSEWHERE.iter().find(|elsewhere| elsewhere.names.contains(&first))?;
    let fault = Fault::new(format!("`{first}` {}", elsewhere.reason)).hint(elsewhere.hint);
    Some(if elsewhere.can_be_missing { Ok(LookedUp::Missing(fault)) } else { Err(fault) })
}

/// Some of them, with the reason and the remedy.
struct Elsewhere {
    names: &'static [&'static str],
    reason: &'static str,
    hint: &'static str,
    /// Whether a template can make up for them, with `||`: they stand for nothing with Garden either while nobody is logged in
    /// or nothing is deployed. A default in place of a value that Garden would have makes another image, in silence.
    can_be_missing: bool,
}

const ELSEWHERE: [Elsewhere; 6] = [
    Elsewhere {
        names: &["actions", "modules"],
        reason: "tells of other modules and actions, whose versions and outputs Garden works out and which are not known here",
        hint: "write the value itself, or hand it over in an environment variable: `${local.env.NAME}`",
        can_be_missing: false,
    },
    Elsewhere {
        names: &["services", "tasks", "runtime"],
        reason: "tells of something that is known only while Garden deploys",
        hint: "write the value itself, or hand it over in an environment variable: `${local.env.NAME}`",
        can_be_missing: false,
    },
    Elsewhere {
        names: &["providers"],
        reason: "tells of providers that Garden has set up, which is not done here",
        hint: "write the value itself, hand it over in an environment variable: `${local.env.NAME}`, or give a default: `${… || \"…\"}`",
        can_be_missing: true,
    },
    Elsewhere {
        names: &["secrets"],
        reason: "comes from Garden's cloud service, which is not asked here",
        hint: "hand the secret over in an environment variable: `${local.env.NAME}`",
        can_be_missing: true,
    },
    Elsewhere {
        names: &["datetime"],
        reason: "changes all the time, so every build would be another one",
        hint: "hand the time over in an environment variable: `${local.env.NAME}`",
        can_be_missing: false,
    },
    Elsewhere {
        names: &["inputs", "parent", "template", "item"],
        reason: "belongs to a template of modules or actions, which are not expanded here",
        hint: "write the value itself",
        can_be_missing: true,
    },
];
