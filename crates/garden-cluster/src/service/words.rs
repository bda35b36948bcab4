//! Which Deployment it is, and what people hear of it.

use std::time::Duration;

use garden_build_core::Remedy;

use crate::diagnosis::Remedies;

/// A Deployment of ours, or a `DaemonSet`: its names, and what is said of it by whoever knows the options that it is made of.
#[derive(Clone, Copy, Debug)]
pub struct DeploymentWords {
    /// What it is called, such as `the registry`.
    pub what: &'static str,
    /// The name of the Deployment, which is also the label `app` of its pods.
    pub name: &'static str,
    /// The name of its container.
    pub container: &'static str,
    /// Its volume, if it may have one.
    pub volume: Option<VolumeWords>,
    /// What to do about the troubles of its pod.
    pub remedies: Remedies,
    /// What to do if its container ended and said something.
    pub ended: Remedy,
    /// How the line begins in which its container says why it ends, if others follow. Without, its last line counts that it does not say at
    /// every start.
    pub complaint: Option<&'static str>,
    /// What to do if another program has installed something under its names.
    pub foreign: Remedy,
    /// What to do if it is not there, or is not what was waited for any more.
    pub missing: Remedy,
    /// How long it may take to be ready without a reason that shows; `None` if whoever waits has a time limit.
    pub longest: Option<Duration>,
}

impl DeploymentWords {
    /// How long all may take for which nobody shows a reason, such as the pull of an image on a slow line.
    pub const USUALLY_LONGEST: Duration = Duration::from_secs(15 * 60);
}

/// The volume of a Deployment of ours, and the options that it is made of.
#[derive(Clone, Copy, Debug)]
pub struct VolumeWords {
    /// The name of the claim to it.
    pub claim: &'static str,
    /// The option with its storage class.
    pub storage_class: &'static str,
    /// What to do if it keeps its size although the option says another.
    pub keeps_size: Remedy,
    /// What to do if it is more than is left of the namespace's `ResourceQuota`.
    pub quota: Remedy,
}
