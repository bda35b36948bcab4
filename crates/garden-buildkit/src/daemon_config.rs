//! The daemon's configuration file, `buildkitd.toml`.
//!
//! Keys and their meaning are those of BuildKit 0.26 (`cmd/buildkitd/config/config.go` and
//! `docs/buildkitd.toml.md`). A daemon ignores keys that it does not know: one before 0.17, which does not
//! know these limits, would keep nothing at all.
//!
//! Why: docs/decisions/44-registries-are-in-the-daemons-configuration.md

use std::fmt::Write as _;

use garden_cluster::RegistryAccess;

/// Where the configuration and the certificate authorities are mounted.
pub(crate) const DIRECTORY: &str = "/etc/garden-buildkit";
pub(crate) const FILE: &str = "buildkitd.toml";

/// How much of its disk the daemon may use, and how much it keeps whatever happens.
///
/// Each is written as the daemon reads it: a percentage of the file system that its state is on, or an
/// amount with a unit.
#[derive(Debug, PartialEq, Eq)]
struct Budget {
    reserved: String,
    max_used: String,
    min_free: String,
}

/// The disk that a daemon's state is on, in MiB.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Disk {
    /// The size of the volume, if there is one.
    pub(crate) volume: Option<u32>,
    /// How much of the node's disk the container may use, if that is limited.
    pub(crate) limit: Option<u32>,
}

/// Returns the text of `buildkitd.toml` for a daemon with this disk.
pub(crate) fn text(registries: &[RegistryAccess], disk: Disk) -> String {
    let Budget { reserved, max_used, min_free } = budget(disk);
    let mut text = String::from("# Written by garden-build.\n");
    // Our own list replaces the daemon's, whose first policy deletes local contexts, cache mounts and
    // git checkouts that were not used for two days as soon as the whole cache exceeds 512 MB
    // (`DefaultGCPolicy` in `cmd/buildkitd/config/gcpolicy.go`). A context that is gone is sent whole
    // the next time; so here it goes when its turn comes among all that is least used, no sooner. The
    // second policy is the daemon's own last one: the same limits, for what builds leave internally.
    for all in ["", "all = true\n"] {
        let _infallible = write!(
            text,
            "\n[[worker.oci.gcpolicy]]\n{all}reservedSpace = \"{reserved}\"\nmaxUsedSpace = \"{max_used}\"\nminFreeSpace = \"{min_free}\"\n",
        );
    }
    // No `max-parallelism`: it would make one build wait for another's steps, while the container's
    // limits share the processors among all of them already.
    for (index, registry) in sorted(registries).into_iter().enumerate() {
        let _infallible = write!(text, "\n[registry.{}]\n", quoted(&registry.host));
        if registry.insecure {
            text.push_str("http = true\n");
        }
        if let Some(mirror) = &registry.mirror {
            let _infallible = writeln!(text, "mirrors = [{}]", quoted(mirror));
        }
        if registry.certificate_authority.is_some() {
            let path = format!("{DIRECTORY}/{}", authority_file(index));
            let _infallible = writeln!(text, "ca = [{}]", quoted(&path));
        }
    }
    text
}

/// Returns the certificate authorities as files beside the configuration: their names and contents.
pub(crate) fn authorities(registries: &[RegistryAccess]) -> impl Iterator<Item = (String, &str)> {
    sorted(registries).into_iter().enumerate().filter_map(|(index, registry)| {
        Some((authority_file(index), registry.certificate_authority.as_deref()?))
    })
}

fn authority_file(index: usize) -> String {
    // A host with a port is not a valid key of a ConfigMap.
    format!("ca-{index}.pem")
}

/// The order in which a client names registries must not make another configuration.
fn sorted(registries: &[RegistryAccess]) -> Vec<&RegistryAccess> {
    let mut sorted: Vec<_> = registries.iter().filter(|access| !access.is_ordinary()).collect();
    sorted.sort();
    sorted.dedup_by(|one, other| one.host == other.host);
    sorted
}

fn budget(Disk { volume, limit }: Disk) -> Budget {
    // What is written to an emptyDir counts against the limit of the container's disk, and a pod that
    // exceeds that is evicted.
    if let Some(size) = volume.or(limit) {
        // The collection runs after builds, not during one: a fifth is left for what runs.
        let size = u64::from(size);
        return Budget {
            reserved: mebibytes(size / 10),
            max_used: mebibytes(size * 8 / 10),
            // The free space of the node's disk says nothing about a limit of ours; that of a volume
            // keeps it from filling up with what is not cache.
            min_free: mebibytes(if volume.is_some() { size / 10 } else { 0 }),
        };
    }
    // The daemon's own defaults on a disk that it does not have to itself. A fifth of free space is
    // above what makes the kubelet evict pods (10 %, or 15 % where images have a disk of their own).
    // Source: Kubernetes, "Node-pressure Eviction", section "Hard eviction thresholds".
    Budget { reserved: "10%".to_owned(), max_used: "100GB".to_owned(), min_free: "20%".to_owned() }
}

/// The daemon's units are binary ones (`units.RAMInBytes`): its MB is a MiB.
fn mebibytes(amount: u64) -> String {
    format!("{amount}MB")
}

/// Writes a TOML string. JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(host: &str, insecure: bool, authority: Option<&str>) -> RegistryAccess {
        RegistryAccess {
            host: host.to_owned(),
            insecure,
            certificate_authority: authority.map(str::to_owned),
            mirror: None,
        }
    }

    #[test]
    fn the_plainest_configuration() {
        insta::assert_snapshot!(text(&[], Disk::default()));
    }

    #[test]
    fn registries_are_named_with_what_the_daemon_must_know_of_them() {
        let registries = [
            access("registry.example:5000", true, None),
            access("private.example", false, Some("a certificate")),
            access("public.example", false, None),
            RegistryAccess {
                mirror: Some("mirror.example/hub".to_owned()),
                ..access("docker.io", false, None)
            },
        ];
        insta::assert_snapshot!(text(&registries, Disk { volume: Some(20_480), limit: None }));
        let authorities: Vec<_> = authorities(&registries).collect();
        assert_eq!(authorities, [("ca-1.pem".to_owned(), "a certificate")]);
    }

    #[test]
    fn the_order_of_registries_does_not_matter() {
        let one = [access("a.example", true, None), access("b.example", false, Some("ca"))];
        let mut other = one.clone();
        other.reverse();
        assert_eq!(text(&one, Disk::default()), text(&other, Disk::default()));
    }

    #[test]
    fn a_limit_of_the_container_s_disk_bounds_the_cache() {
        let expected = Budget {
            reserved: "1000MB".to_owned(),
            max_used: "8000MB".to_owned(),
            min_free: "0MB".to_owned(),
        };
        assert_eq!(budget(Disk { volume: None, limit: Some(10_000) }), expected);
    }

    #[test]
    fn a_host_cannot_end_its_string() {
        assert_eq!(quoted("a\"]\n[worker"), r#""a\"]\n[worker""#);
    }
}
