//! What containers may not do.

use k8s_openapi::api::core::v1::{Capabilities, SeccompProfile, SecurityContext};

/// Returns the runtime's own filter of system calls, without which a container may make any.
pub fn usual_system_calls() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}

/// Returns what each of our containers has that runs no steps of a Dockerfile: no capability, and no way to get one.
pub fn confined() -> SecurityContext {
    SecurityContext {
        seccomp_profile: Some(usual_system_calls()),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}
