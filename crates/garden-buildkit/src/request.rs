//! From a job to what a daemon is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use garden_build_core::{BuildJob, BuildRequest, Digest, Error, ErrorKind, ImageFlag, NamedContext, Result};

use crate::client::file_sync::{Journal, MemoryFiles, ScannedTree};
use crate::client::{self, CONTEXT, DOCKERFILE, DockerfileBuild, RegistryLogins, Session, Source};

/// The flag that sets an attribute of the Dockerfile frontend, as `buildctl` has it.
const OPTION_FLAG: &str = "--opt";

/// The context was filtered before it is sent, so the daemon has nothing to ignore. Finding this
/// file beside the Dockerfile, it does not look for the user's, whose patterns it would have us apply
/// once more.
const IGNORE_FILE: &[u8] = b"# The files that are not here were excluded before they were sent.\n";

/// Returns the build that `job` asks for, without its flags and caches, and without saying where the image goes.
pub fn build(job: &BuildJob) -> DockerfileBuild {
    let request = &job.request;
    let contexts = request.contexts.iter().map(|(name, context)| {
        let context = match context {
            NamedContext::Image(image) => client::NamedContext::Image(image.clone()),
            _ => client::NamedContext::Directory(local_name(name)),
        };
        (name.clone(), context)
    });
    DockerfileBuild {
        filename: job.context.dockerfile().path().to_owned(),
        target: request.target.clone(),
        build_args: request.build_args.clone(),
        labels: request.labels.clone(),
        platforms: request.platforms.clone(),
        no_cache: request.no_cache,
        extra_hosts: request.extra_hosts.clone(),
        contexts: contexts.collect(),
        ..DockerfileBuild::default()
    }
}

/// Returns what a daemon may ask of us while it builds `job`.
pub(crate) fn session(job: &BuildJob, logins: Arc<dyn RegistryLogins>, journal: Journal) -> Session {
    let dockerfile = job.context.dockerfile();
    let beside_context = MemoryFiles::new([
        (dockerfile.path().to_owned(), dockerfile.contents()),
        (format!("{}.dockerignore", dockerfile.path()), IGNORE_FILE),
    ]);
    let mut directories: BTreeMap<String, Arc<dyn Source>> = BTreeMap::from([
        (DOCKERFILE.to_owned(), Arc::new(beside_context) as Arc<dyn Source>),
        (CONTEXT.to_owned(), Arc::new(ScannedTree::new(job.context.tree().clone()))),
    ]);
    for (name, tree) in &job.named_contexts {
        directories.insert(local_name(name), Arc::new(ScannedTree::new(tree.clone())));
    }
    let secrets = job.request.secrets.iter();
    Session {
        shared_key: shared_key(job),
        directories,
        logins: Some(logins),
        secrets: secrets.map(|(id, secret)| (id.clone(), secret.expose().to_vec().into())).collect(),
        ssh_agents: job.request.ssh_agents.clone(),
        journal,
    }
}

/// The name under which a session serves the directory of a named context.
pub(crate) fn local_name(context: &str) -> String {
    format!("context:{context}")
}

/// Identifies the copy of the context that the daemon keeps: by this machine, the directory, and what
/// decides which of its files the daemon asks for. Builds that share a key would delete each
/// other's files from the copy, and be sent them again.
fn shared_key(job: &BuildJob) -> String {
    let parts = [
        machine(),
        job.context.root().to_string_lossy().into_owned(),
        job.context.dockerfile().path().to_owned(),
        job.request.target.clone().unwrap_or_default(),
    ];
    // As JSON, which keeps the parts apart.
    Digest::of(serde_json::Value::from(parts.to_vec()).to_string().as_bytes()).hex()
}

/// Containers of one image have the same machine id, so the host name, which they do not share,
/// counts as well.
fn machine() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let host = gethostname::gethostname();
    format!("{} {}", id.trim(), host.to_string_lossy())
}

/// Reads `extraFlags`: `--opt name=value`, in one word or two.
///
/// # Errors
/// For any other flag: what `buildctl` needs them for has fields of its own here.
pub(crate) fn options(flags: &[String]) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        let option = match flag.strip_prefix(OPTION_FLAG) {
            Some("") => flags.next().map(String::as_str),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        let Some((name, value)) = option.and_then(|option| option.split_once('=')) else {
            let message = format!("`extraFlags`: cluster-buildkit does not know `{flag}`");
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint(
                "attributes of the Dockerfile frontend are set with `--opt name=value`; everything else has a field of the request",
            ));
        };
        if let Some(field) = field_for(name) {
            let message = format!("`extraFlags`: `{OPTION_FLAG} {name}=…` is not for a flag");
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint(format!("use {field}")));
        }
        options.insert(name.to_owned(), value.to_owned());
    }
    Ok(options)
}

/// Returns where an attribute of the Dockerfile frontend is set that has a place of its own. Two places would contradict each other.
pub fn field_for(attribute: &str) -> Option<&'static str> {
    Some(match attribute.split(':').next().unwrap_or_default() {
        "target" => "the request's `target`",
        "platform" => "the request's `platforms`",
        "no-cache" => "the request's `noCache`",
        "filename" | "dockerfilekey" => "the request's `dockerfile`",
        "context" | "contextkey" => "the request's `directory` and `contexts`",
        "add-hosts" => "the request's `extraHosts`",
        "build-arg" => "the request's `buildArgs`",
        "label" => "the request's `labels`",
        "cache-imports" | "cache-from" => "`clusterBuildkit.cache`",
        _ => return None,
    })
}

/// Attributes of the Dockerfile frontend that do not change what of the context it reads. Any other one, known or not,
/// is taken to change it.
const READING_NO_MORE: [&str; 7] = [
    "cgroup-parent",
    "force-network-mode",
    "hostname",
    "image-resolve-mode",
    "multi-platform",
    "shm-size",
    "ulimit",
];

/// The options are part of the version: any of them can change the image.
pub(crate) fn image_flags(request: &BuildRequest) -> Result<Vec<ImageFlag>> {
    let options = options(&request.extra_flags)?;
    Ok(options.iter().map(|(name, value)| option_flag(name, value)).collect())
}

/// Returns what an attribute of the Dockerfile frontend can change.
pub fn option_flag(name: &str, value: &str) -> ImageFlag {
    let words = [format!("{OPTION_FLAG}={name}={value}")];
    if READING_NO_MORE.contains(&name) { ImageFlag::reading_no_more(words) } else { ImageFlag::new(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<BTreeMap<String, String>> {
        options(&flags.iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_be_one_word_or_two() {
        let options = read(&["--opt", "ulimit=nofile=1024", "--opt=shm-size=1g"]).expect("valid");
        assert_eq!(options["ulimit"], "nofile=1024");
        assert_eq!(options["shm-size"], "1g");
    }

    #[test]
    fn an_attribute_that_is_not_known_to_read_nothing_may_read_everything() {
        for (name, may_read_more) in
            [("shm-size", false), ("ulimit", false), ("ulimits", true), ("source", true), ("cmdline", true)]
        {
            let flag = option_flag(name, "x/y=z");
            assert_eq!(flag.words, [format!("--opt={name}=x/y=z")]);
            assert_eq!(flag.may_read_more, may_read_more, "{name}");
        }
    }

    #[test]
    fn what_has_a_field_is_not_set_by_a_flag() {
        for name in ["target", "no-cache", "build-arg:A", "context:base", "cache-imports"] {
            let error = read(&["--opt", &format!("{name}=x")]).expect_err("has a field");
            assert!(error.message().contains(name), "{error}");
            // As the project file spells it.
            assert!(error.hint().is_some_and(|hint| hint.contains('`') && !hint.contains('_')), "{error}");
        }
    }

    #[test]
    fn other_flags_are_refused_by_name() {
        for flags in [&["--cache-repo=x"][..], &["--opt"], &["--opt", "novalue"], &["--optimise=1"], &["x"]] {
            let error = read(flags).expect_err("unknown");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(flags[0]), "{error}");
        }
    }
}
