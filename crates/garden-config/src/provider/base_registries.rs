//! The field `registries` of daemons: how the registries of base images are reached.

use std::collections::BTreeSet;

use crate::DeploymentRegistry;
use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::problems::Problems;

/// Reads the list in the field `registries`.
pub(crate) fn read_all(fields: &Fields<'_>, problems: &Problems) -> Vec<DeploymentRegistry> {
    let read = |item| DeploymentRegistry::read_with(item, "each of `registries`", problems, issues);
    fields.list("registries").into_iter().filter_map(read).collect()
}

/// Reports if two entries are about one registry.
pub(crate) fn repeated(registries: &[DeploymentRegistry]) -> Option<Issue> {
    let mut hosts = BTreeSet::new();
    let twice = registries.iter().map(DeploymentRegistry::host).find(|host| !hosts.insert(host.clone()))?;
    let message = format!("`registries` has two entries for `{twice}`");
    Some(Issue::new("registries", message, "keep one of the two"))
}

/// The rules for an item of `registries`, which says how a host is reached and nothing else.
pub(crate) fn issues(registry: &DeploymentRegistry) -> Vec<Issue> {
    let host = registry.host();
    let namespace = registry.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.map(|namespace| {
        let message =
            format!("`{host}` in `registries` has the namespace `{namespace}`, but it counts as a whole");
        Issue::new("namespace", message, format!("write `hostname: {host}` without a namespace"))
    });
    let idle = (!registry.insecure && registry.ca_certificate.is_none()).then(|| {
        let message = format!("`{host}` in `registries` has neither `insecure: true` nor `caCertificate`");
        Issue::new("hostname", message, "set one of the two, or leave the entry out: it changes nothing")
    });
    registry.reach_issues().into_iter().chain(namespace).chain(idle).collect()
}
