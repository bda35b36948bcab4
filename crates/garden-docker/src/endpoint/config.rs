//! The configuration of the `docker` command, as far as it says which daemon is meant and which proxies RUN steps get.
//! Source: docker/cli, `cli/config/configfile/file.go`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use garden_build_core::{ProxyUrl, ProxyVariables};
use serde::Deserialize;

use crate::ReachError;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Config {
    current_context: Option<String>,
    /// By the address of a daemon, or for all that are not named: [`DEFAULT`].
    proxies: Option<BTreeMap<String, Option<ProxyConfig>>>,
}

const DEFAULT: &str = "default";

#[derive(Deserialize, Default)]
#[serde(default)]
struct ProxyConfig {
    #[serde(rename = "httpProxy")]
    http: Option<String>,
    #[serde(rename = "httpsProxy")]
    https: Option<String>,
    #[serde(rename = "ftpProxy")]
    ftp: Option<String>,
    #[serde(rename = "allProxy")]
    all: Option<String>,
    #[serde(rename = "noProxy")]
    none: Option<String>,
}

/// Returns the file of Docker's configuration in `directory`.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join("config.json")
}

impl Config {
    /// Reads the configuration in `directory`, if there is one.
    pub(super) fn read(directory: &Path) -> Result<Self, ReachError> {
        let file = file(directory);
        let bad = |reason: String| ReachError::BadConfig { file: file.clone(), reason };
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            bytes => bytes.map_err(|error| bad(error.to_string()))?,
        };
        // Docker, too, takes an empty file for an empty configuration.
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&bytes).map_err(|error| bad(not_as_expected(&error)))
    }

    /// Returns the context that is in use, if one is.
    pub(super) fn current_context(self) -> Option<String> {
        self.current_context.filter(|context| !context.is_empty())
    }

    /// Returns the proxies that the command gives to the RUN steps of a build on the daemon at `address`: its own, or else those for all.
    /// Source: `ParseProxyConfig`.
    pub(super) fn proxies(self, address: &str) -> ProxyVariables {
        let mut proxies = self.proxies.unwrap_or_default();
        let found = proxies.remove(address).or_else(|| proxies.remove(DEFAULT));
        let ProxyConfig { http, https, ftp, all, none } = found.flatten().unwrap_or_default();
        let urls = [("HTTP_PROXY", http), ("HTTPS_PROXY", https), ("FTP_PROXY", ftp), ("ALL_PROXY", all)];
        let set = urls.into_iter().filter_map(|(name, url)| {
            let url = url.filter(|url| !url.is_empty())?;
            Some((name, ProxyUrl::from(url)))
        });
        ProxyVariables::new(set, none.unwrap_or_default())
    }
}

/// Describes where the configuration is wrong, and never quotes it: Docker's configuration contains logins.
pub(super) fn not_as_expected(error: &serde_json::Error) -> String {
    let what = if error.is_data() { "has another form" } else { "is not JSON" };
    format!("line {}, column {} {what}", error.line(), error.column())
}
