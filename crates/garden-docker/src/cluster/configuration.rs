//! What the daemon reads when it starts, and the record of registries that projects have configured.
//!
//! Keys of `daemon.json` and their meaning are those of Docker 20.10 to 28 (`daemon/config` and `registry/config.go` of
//! moby). A daemon refuses keys that it does not know at the top, and ignores those within `builder`.
//!
//! Why: docs/decisions/53-one-docker-daemon-knows-all-registries.md

use std::collections::{BTreeMap, BTreeSet};

use garden_build_core::Digest;
use garden_cluster::RegistryAccess;
use garden_config::PersistentStorage;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::ClusterDaemonSettings;

/// The daemon's configuration file.
pub(super) const FILE: &str = "daemon.json";

/// Our own record of the registries: what one project has configured stays when another project installs the daemon.
const REGISTRIES: &str = "registries.json";

/// How many layers are pulled, and how many pushed, at once. The limits are those of the whole daemon, whatever Docker's
/// documentation says (`distribution/xfer/transfer.go`), and the daemon has many users; the defaults are 3 and 5.
const TRANSFERS: u32 = 10;

/// An entry of the record.
#[derive(Serialize, Deserialize)]
struct Known {
    host: String,
    insecure: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority: Option<String>,
}

/// Returns the contents of the daemon's `ConfigMap`.
pub(super) fn files(settings: &ClusterDaemonSettings) -> BTreeMap<String, String> {
    let authorities = authorities(&settings.registries);
    let files =
        authorities.map(|(key, registry)| (key, registry.certificate_authority.clone().unwrap_or_default()));
    let known: Vec<Known> = settings.registries.iter().map(Known::from).collect();
    files
        .chain([(FILE.to_owned(), pretty(&daemon(settings))), (REGISTRIES.to_owned(), pretty(&json!(known)))])
        .collect()
}

/// Returns the key of each certificate authority, and the path that the daemon looks for it at, below
/// `/etc/docker/certs.d`. A host with a port cannot be a key.
pub(super) fn authority_paths(settings: &ClusterDaemonSettings) -> Vec<(String, String)> {
    let authorities = authorities(&settings.registries);
    authorities.map(|(key, registry)| (key, format!("{}/ca.crt", registry.host))).collect()
}

/// Adds to `settings` the further registries that other projects have configured, as the `live` configuration has it.
/// If both name a registry, the settings count.
pub(super) fn keep_others(settings: &mut ClusterDaemonSettings, live: &BTreeMap<String, String>) {
    let known = live.get(REGISTRIES).and_then(|text| serde_json::from_str::<Vec<Known>>(text).ok());
    for known in known.unwrap_or_default() {
        if settings.registries.iter().all(|registry| registry.host != known.host) {
            settings.registries.push(known.into());
        }
    }
    settings.registries.sort();
}

/// What the daemon's configuration says, in a form that can be compared: which registries, and how each is reached.
pub(super) fn told(registries: &[RegistryAccess]) -> BTreeSet<String> {
    let told = registries.iter().map(|registry| match &registry.certificate_authority {
        Some(authority) => format!("{}=ca-{:.16}", registry.host, Digest::of(authority.as_bytes()).hex()),
        None => format!("{}=http", registry.host),
    });
    told.collect()
}

fn daemon(settings: &ClusterDaemonSettings) -> serde_json::Value {
    // With the scheme, which Docker's own client drops: BuildKit in Docker 20.10 does not understand `host:port` without it
    // (`RegistryHosts` in `daemon/daemon.go`).
    let insecure = settings.registries.iter().filter(|registry| registry.insecure);
    let insecure: Vec<String> = insecure.map(|registry| format!("http://{}", registry.host)).collect();
    let cache = build_cache(&settings.storage);
    // Our own list replaces the daemon's, whose first policy deletes local contexts, cache mounts and git checkouts that
    // were not used for two days as soon as they exceed a seventh of the cache (`builder/builder-next/worker/gc.go`). A
    // context that is gone is sent whole the next time; so here it goes when its turn comes among all that is least used.
    // The second policy is the daemon's own last one. Later versions read `keepStorage` as `reservedSpace`.
    let policy = json!([{ "keepStorage": cache }, { "all": true, "keepStorage": cache }]);
    json!({
        "builder": { "gc": { "enabled": true, "policy": policy } },
        "insecure-registries": insecure,
        // A daemon that is to stop has no builds any more, and their containers have nobody to live on for.
        "live-restore": false,
        "log-level": "info",
        "max-concurrent-downloads": TRANSFERS,
        "max-concurrent-uploads": TRANSFERS,
    })
}

/// How much the cache of `BuildKit` may take: two fifths of the volume. The rest is for images, which only a clean-up
/// removes, and for what runs. The unit is the daemon's own (`units.RAMInBytes`), whose MB is a MiB.
fn build_cache(storage: &PersistentStorage) -> String {
    format!("{}MB", (u64::from(storage.size) * 2 / 5).max(1))
}

fn authorities(registries: &[RegistryAccess]) -> impl Iterator<Item = (String, &RegistryAccess)> {
    let private = registries.iter().filter(|registry| registry.certificate_authority.is_some());
    private.enumerate().map(|(index, registry)| (format!("ca-{index}.crt"), registry))
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

impl From<&RegistryAccess> for Known {
    fn from(registry: &RegistryAccess) -> Self {
        Self {
            host: registry.host.clone(),
            insecure: registry.insecure,
            certificate_authority: registry.certificate_authority.clone(),
        }
    }
}

impl From<Known> for RegistryAccess {
    fn from(known: Known) -> Self {
        let Known { host, insecure, certificate_authority } = known;
        Self { host, insecure, certificate_authority, mirror: None }
    }
}
