//! Docker's contexts, as `docker context` keeps them. Source: docker/cli, `cli/context/store` and `cli/context/docker`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use garden_build_core::{Digest, read_regular_file};
use serde::Deserialize;

use super::config::not_as_expected;
use crate::ReachError;

/// What a context says of a daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Context {
    /// The address; without one, this machine's usual socket is meant.
    pub(crate) host: Option<String>,
    /// Encrypted, but the daemon may be anybody.
    pub(crate) skip_tls_verify: bool,
    /// The directory with the certificates. That it is there asks for TLS.
    pub(crate) certificates: Option<PathBuf>,
    /// The file that says so.
    pub(crate) file: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "Endpoints", default)]
    endpoints: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// How many contexts are looked at to say which there are, and how long the file of each may be.
const MOST_NAMED: usize = 20;
const LONGEST_FILE: u64 = 1 << 16;

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "Name")]
    name: String,
}

/// Returns the names of contexts in `store`, as far as they can be read. `default` has no file, and is always there.
fn names(store: &Path) -> Vec<String> {
    let name = |directory: io::Result<fs::DirEntry>| {
        let file = directory.ok()?.path().join("meta.json");
        let bytes = read_regular_file(&file, LONGEST_FILE).ok()?;
        Some(serde_json::from_slice::<Named>(&bytes).ok()?.name)
    };
    let directories = fs::read_dir(store.join("meta")).into_iter().flatten();
    let mut names: Vec<String> = directories.take(MOST_NAMED).filter_map(name).collect();
    names.push("default".to_owned());
    names.sort();
    names
}

/// Reads the context `name`, which `named_by` names.
pub(crate) fn read(directory: &Path, name: &str, named_by: &str) -> Result<Context, ReachError> {
    let id = Digest::of(name.as_bytes()).hex();
    let store = directory.join("contexts");
    let file = store.join("meta").join(&id).join("meta.json");
    let bad =
        |reason: String| ReachError::BadContext { context: name.to_owned(), file: file.clone(), reason };
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (context, named_by) = (name.to_owned(), named_by.to_owned());
            let others = names(&store);
            return Err(ReachError::NoContext { context, named_by, file, others });
        }
        bytes => bytes.map_err(|error| bad(error.to_string()))?,
    };
    let mut metadata: Metadata =
        serde_json::from_slice(&bytes).map_err(|error| bad(not_as_expected(&error)))?;
    let endpoint = metadata.endpoints.remove("docker").filter(|endpoint| !endpoint.is_null());
    let endpoint = endpoint.ok_or_else(|| bad("it has no endpoint `docker`".to_owned()))?;
    let endpoint: DockerEndpoint = serde_json::from_value(endpoint)
        .map_err(|error| bad(format!("its endpoint `docker` has another form: {error}")))?;
    let certificates = store.join("tls").join(&id).join("docker");
    Ok(Context {
        host: endpoint.host.filter(|host| !host.is_empty()),
        skip_tls_verify: endpoint.skip_tls_verify,
        certificates: certificates.is_dir().then_some(certificates),
        file,
    })
}
