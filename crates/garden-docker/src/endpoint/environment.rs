use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use garden_network::Proxies;

/// The variables that are looked at.
const VARIABLES: [&str; 8] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "PATH",
    "XDG_RUNTIME_DIR",
];

/// What surrounds us and says which daemon is meant.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    home: Option<PathBuf>,
    usual_socket: PathBuf,
    proxies: Proxies,
}

impl Environment {
    pub(crate) fn of_this_process() -> Self {
        let set = VARIABLES.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        Self { proxies: Proxies::from_environment(), ..Self::new(set, std::env::home_dir()) }
    }

    pub(crate) fn new(
        variables: impl IntoIterator<Item = (&'static str, OsString)>,
        home: Option<PathBuf>,
    ) -> Self {
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        // Source: docker/cli, `opts/hosts.go`.
        let usual_socket = PathBuf::from("/var/run/docker.sock");
        Self { variables, home, usual_socket, proxies: Proxies::none() }
    }

    /// As if the usual socket were at `path`.
    #[cfg(test)]
    pub(crate) fn with_usual_socket(self, path: &Path) -> Self {
        Self { usual_socket: path.to_owned(), ..self }
    }

    /// Returns what a variable is set to. As for Docker, one that is empty is not set.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from)
    }

    /// Returns the directory of Docker's configuration. Source: docker/cli, `cli/config/config.go`.
    pub(crate) fn docker_directory(&self) -> Option<PathBuf> {
        self.path("DOCKER_CONFIG").or_else(|| self.home.as_ref().map(|home| home.join(".docker")))
    }

    pub(crate) fn usual_socket(&self) -> &Path {
        &self.usual_socket
    }

    /// Returns the proxies that connections to other machines go through.
    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// Returns where other daemons of this user would have their sockets: rootless Docker and Docker Desktop. Docker
    /// does not look there by itself, so neither do we; but who has no usual socket may mean one of them.
    pub(crate) fn other_sockets(&self) -> Vec<PathBuf> {
        let rootless = self.path("XDG_RUNTIME_DIR").map(|directory| directory.join("docker.sock"));
        let desktop = ["run", "desktop"].into_iter().filter_map(|directory| {
            Some(self.home.as_ref()?.join(".docker").join(directory).join("docker.sock"))
        });
        rootless.into_iter().chain(desktop).collect()
    }
}
