//! What the fuzz targets of this crate run; see `fuzz` at the top of the repository.

use std::collections::BTreeSet;

use garden_build_core::{Digest, ImageReference};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::challenge::{Challenge, challenges};
use crate::clean_up::{
    CleanUpPlan, CleanUpRules, ImagesInUse, Inventory, References, Repository, StorageListing,
    StoredManifest, StoredNames,
};
use crate::docker_config::{parse, parse_any, parse_legacy, render, render_login};
use crate::endpoint::Endpoint;
use crate::entries::{Entries, Source};
use crate::key::{Key, glob};
use crate::token::TokenServer;

pub use crate::client::fuzzing::registry_answers;

/// Images to look up, besides those that a configuration itself names.
const NAMES: [&str; 5] = [
    "docker.io/library/busybox",
    "registry.example/team/api",
    "registry.example:5000/team/api",
    "1.dkr.ecr.eu-west-1.amazonaws.com/a",
    "[::1]:5000/a",
];

/// Stands alone in the line between a listing and the texts in which images are looked for.
const SEPARATOR: &str = "\n%%\n";

/// Reads a Docker configuration out of a Secret, and writes what a builder is given of it.
///
/// # Panics
/// If a builder would find another login than we do.
pub fn docker_config(data: &[u8]) {
    for parse in [parse, parse_any, parse_legacy] {
        match parse(data, "the Secret") {
            Ok(entries) => look_up(&entries),
            Err(error) => assert!(error.to_string().contains("the Secret")),
        }
    }
}

fn look_up(entries: &Entries) {
    let keys = entries.logins.keys().chain(entries.helpers.keys());
    let own = keys.map(|key| key.to_string().replace(['*', '?'], "x"));
    let names: Vec<String> = own.take(8).chain(NAMES.map(str::to_owned)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        let (registry, _) = name.split_once('/').unwrap_or((name, ""));
        for key in entries.logins.keys().take(8) {
            let (pattern, text) = (key.to_string(), registry);
            if pattern.len() <= 64 && text.len() <= 64 {
                let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
                assert_eq!(glob(pattern, text), glob_by_table(pattern, text), "{key} {registry}");
            }
        }
    }
    let rendered = render(entries, &names, &["ecr-login"]);
    let rendered: Value = serde_json::from_str(rendered.expose_secret()).expect("JSON of our own");
    for name in names {
        let (registry, repository) = name.split_once('/').unwrap_or((name, ""));
        if let Some(Source::Login(_, entry)) = entries.sources(registry, repository).first() {
            let at = |key: Key| rendered["auths"].get(key.to_string());
            // As builders do: what has the whole name, else what has the registry's.
            let found = at(Key::exact(registry, repository)).or_else(|| at(Key::exact(registry, "")));
            assert_eq!(found, Some(&render_login(&entry.value)), "{name}");
        }
    }
}

/// Whether `text` matches `pattern`, by asking it of all of their beginnings.
fn glob_by_table(pattern: &[u8], text: &[u8]) -> bool {
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for expected in pattern {
        let before = fits.clone();
        for end in 0..=text.len() {
            fits[end] = match expected {
                b'*' => before[..=end].contains(&true),
                _ => end > 0 && before[end - 1] && (*expected == b'?' || *expected == text[end - 1]),
            };
        }
    }
    fits[text.len()]
}

/// Reads the header with which a registry says how to authenticate; each line is one.
///
/// # Panics
/// If what was read reads otherwise when it is written down, or is more than was written.
pub fn www_authenticate(data: &[u8]) {
    let read = read_challenges(data.split(|byte| *byte == b'\n'));
    let size: usize = read.iter().map(size).sum();
    assert!(size <= data.len(), "{size} bytes of {}", data.len());
    let written: Vec<String> = read.iter().map(write).collect();
    assert_eq!(read_challenges([written.join(", ").as_bytes()]), read, "{written:?}");
    let endpoint = Endpoint::new("registry.example", false).expect("a registry");
    for challenge in &read {
        if let Err(error) = TokenServer::from_challenge(challenge, &endpoint) {
            assert!(!error.to_string().is_empty());
        }
    }
}

fn read_challenges<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<Challenge> {
    let mut headers = HeaderMap::new();
    for value in values.into_iter().filter_map(|value| HeaderValue::from_bytes(value).ok()).take(16) {
        headers.append(WWW_AUTHENTICATE, value);
    }
    challenges(&headers)
}

fn size(challenge: &Challenge) -> usize {
    let parameters = challenge.parameters.iter().map(|(name, value)| name.len() + value.len());
    challenge.scheme.len() + parameters.sum::<usize>()
}

/// Source: RFC 9110, section 11.6.1.
fn write(challenge: &Challenge) -> String {
    let escaped = |value: &String| value.replace('\\', r"\\").replace('"', "\\\"");
    let write = |(name, value): &(String, String)| format!("{name}=\"{}\"", escaped(value));
    let parameters: Vec<String> = challenge.parameters.iter().map(write).collect();
    format!("{} {}", challenge.scheme, parameters.join(", "))
}

/// Reads the listing of a registry's storage, looks for its images in texts, and plans a clean-up.
///
/// # Panics
/// If the clean-up would delete what stands alone in a line of the texts.
pub fn storage_listing(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (listing, texts) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
    let Ok(listing) = StorageListing::parse(&format!("{listing}\n")) else { return };
    let inventory = inventory(&listing);
    let stored = StoredNames::of(&inventory);
    let mut in_use = ImagesInUse::new();
    for line in texts.lines() {
        in_use.add_text(line, "ConfigMap a/b", &stored);
    }
    in_use.add(texts, "Pod a/b");
    let plan = CleanUpPlan::new(&inventory, &in_use, &CleanUpRules::default());
    let lines: BTreeSet<&str> = texts.lines().map(str::trim).collect();
    for deletion in &plan.deletions {
        assert!(!lines.contains(deletion.digest.to_string().as_str()), "{deletion:?}");
        for tag in &deletion.tags {
            assert!(!lines.contains(tag.as_str()), "{deletion:?}");
            // Only what Docker's grammar takes for a name can be pulled by it.
            let name = format!("registry.example/{}:{tag}", deletion.repository);
            let is_name = name.parse::<ImageReference>().is_ok();
            assert!(!is_name || !lines.contains(name.as_str()), "{deletion:?}");
        }
    }
    let decided = plan.deletions.len() + plan.kept.len();
    let manifests: usize = inventory.repositories.values().map(|repository| repository.manifests.len()).sum();
    assert!(decided <= manifests, "{decided} of {manifests} manifests");
}

/// What lies in the storage, as if each manifest needed the first blob.
fn inventory(listing: &StorageListing) -> Inventory {
    let layers: Vec<Digest> = listing.blobs.keys().take(1).copied().collect();
    let manifest = |(digest, pushed): (&Digest, &jiff::Timestamp)| {
        let references = References { layers: layers.clone(), ..References::default() };
        (*digest, StoredManifest { pushed: *pushed, references })
    };
    let repositories = listing.repositories.iter().map(|(name, repository)| {
        let manifests = repository.manifests.iter().map(manifest).collect();
        let (tags, unreadable) = (repository.tags.clone(), repository.unreadable.clone());
        (name.clone(), Repository { tags, manifests, unreadable })
    });
    let repositories = repositories.collect();
    Inventory { read_at: listing.read_at, repositories, blobs: listing.blobs.clone() }
}

#[test]
fn the_seeds_pass() {
    garden_test_programs::run_seeds("docker_config", docker_config);
    garden_test_programs::run_seeds("www_authenticate", www_authenticate);
    garden_test_programs::run_seeds("storage_listing", storage_listing);
    garden_test_programs::run_seeds("registry_answers", registry_answers);
}
