//! For which registries and repositories an entry of a Docker configuration is meant.

use std::fmt;

use crate::clouds::{DOCKER_HUB, DOCKER_HUB_KEY, canonical};

/// The key of an entry: a host, perhaps with a port, wildcards and a path.
///
/// Source: Kubernetes, "Configure nodes to authenticate to a private registry" and
/// `pkg/credentialprovider/keyring.go`; `docker login` writes URLs with scheme and `/v1/` or `/v2/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    /// `host[:port]` in lower case; one name for all those of Docker Hub.
    host: String,
    /// The repositories' common path without slashes at its ends; empty for all repositories.
    path: String,
}

impl Key {
    /// Reads a key; `None` if it names no host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        // User information means nothing here, and may be a password, which must not be shown.
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        if host.is_empty() {
            return None;
        }
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let path = match path.split_once('/') {
            _ if path == "v1" || path == "v2" => "",
            Some(("v1" | "v2", rest)) => rest,
            _ => path,
        };
        Some(Self { host: canonical(host), path: path.to_owned() })
    }

    /// Returns the key that means exactly `repository` (or everything, if empty) at `registry`.
    pub(crate) fn exact(registry: &str, repository: &str) -> Self {
        Self { host: canonical(registry), path: repository.to_owned() }
    }

    /// Returns the same key for exactly this registry, which it matches.
    pub(crate) fn at(&self, registry: &str) -> Self {
        Self { host: canonical(registry), path: self.path.clone() }
    }

    /// Returns whether the entry is meant for `repository` at `registry`.
    ///
    /// As in the kubelet, a wildcard stands for (part of) one label of the host name and the port
    /// must be the same. A path is a prefix of whole components, so that `team` is not `teamwork`.
    pub(crate) fn matches(&self, registry: &str, repository: &str) -> bool {
        self.matches_host(&canonical(registry)) && self.matches_path(repository)
    }

    fn matches_host(&self, host: &str) -> bool {
        let (pattern, pattern_port) = split_port(&self.host);
        let (host, port) = split_port(host);
        let labels = || pattern.split('.').zip(host.split('.'));
        pattern_port == port
            && pattern.split('.').count() == host.split('.').count()
            && labels().all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
    }

    fn matches_path(&self, repository: &str) -> bool {
        match repository.strip_prefix(self.path.as_str()) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Orders keys that match the same repository: the greater is the more specific one.
    pub(crate) fn specificity(&self) -> (usize, bool, usize) {
        (self.path.len(), !self.has_wildcard(), self.host.len())
    }

    fn has_wildcard(&self) -> bool {
        self.host.contains(['*', '?'])
    }
}

/// The key as a builder's `config.json` has it.
///
/// Source: Docker Hub's odd key is docker/cli's `registry.IndexServer`; go-containerregistry, with
/// which kaniko looks up, calls its repositories `index.docker.io/…`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.as_str(), self.path.as_str()) {
            (DOCKER_HUB, "") => f.write_str(DOCKER_HUB_KEY),
            (DOCKER_HUB, path) => write!(f, "index.docker.io/{path}"),
            (host, "") => f.write_str(host),
            (host, path) => write!(f, "{host}/{path}"),
        }
    }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Whether `text` matches `pattern`, in a time that is at most the product of their lengths: where a `*` does not lead on, only the
/// last one has to take more, since what is before it matched already.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Behind the last `*`, and where what it does not stand for began.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, read));
            }
            Some(&expected) if expected == b'?' || expected == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match &mut star {
                Some((behind, taken)) => {
                    *taken += 1;
                    (at, read) = (*behind, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&rest| rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).expect(text)
    }

    #[test]
    fn matches_as_the_kubelet_does() {
        for (text, registry, repository, expected) in [
            ("registry.example", "registry.example", "a", true),
            ("Registry.Example", "registry.example", "a", true),
            ("https://registry.example/v2/", "registry.example", "a/b", true),
            ("http://registry.example/v1", "registry.example", "a/b", true),
            ("registry.example:5000", "registry.example:5000", "a", true),
            ("registry.example", "registry.example:5000", "a", false),
            ("registry.example:5000", "registry.example", "a", false),
            ("*.azurecr.io", "team.azurecr.io", "a", true),
            ("*.azurecr.io", "azurecr.io", "a", false),
            ("*.azurecr.io", "a.b.azurecr.io", "a", false),
            ("*.*.azurecr.io", "a.b.azurecr.io", "a", true),
            ("reg*.example", "registry.example", "a", true),
            ("*.dkr.ecr.eu-*-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", "a", true),
            ("r?gistry.example:5000", "registry.example:5000", "a", true),
            ("registry.example/team", "registry.example", "team", true),
            ("registry.example/team", "registry.example", "team/api", true),
            ("registry.example/team/", "registry.example", "team/api", true),
            ("registry.example/team", "registry.example", "teamwork/api", false),
            ("https://registry.example/v2/team", "registry.example", "team/api", true),
            ("https://index.docker.io/v1/", "docker.io", "library/busybox", true),
            ("docker.io", "index.docker.io", "library/busybox", true),
            ("hub.docker.com", "registry-1.docker.io", "a/b", true),
            ("https://index.docker.io/v1/access-token", "docker.io", "a/b", false),
            ("[::1]:5000", "[::1]:5000", "a", true),
            ("[::1]", "[::1]:5000", "a", false),
        ] {
            assert_eq!(key(text).matches(registry, repository), expected, "{text} {registry}/{repository}");
        }
    }

    #[test]
    fn many_wildcards_are_done_with() {
        // Each of these would outlast whoever waits for it if every wildcard tried every length.
        let pattern = format!("{}b", "*a".repeat(2_000));
        assert!(!glob(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
        assert!(
            !key(&format!("{}b.example", "a*".repeat(30)))
                .matches(&format!("{}.example", "a".repeat(63)), "x")
        );
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("**", "ab", true),
            ("a*b*c", "axbxbc", true),
            ("a*b?c", "abbbxc", true),
            ("a*b?c", "abbbc", true),
            ("a*bc", "abcb", false),
            ("?", "", false),
            ("*a", "aab", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_longest_path_then_the_exact_host_is_the_most_specific() {
        let mut keys =
            ["*.example", "registry.example", "r*.example", "*.example/team", "registry.example/team/api"];
        keys.sort_by_key(|text| key(text).specificity());
        let ordered =
            ["*.example", "r*.example", "registry.example", "*.example/team", "registry.example/team/api"];
        assert_eq!(keys, ordered);
    }

    #[test]
    fn prints_what_builders_understand_and_no_user_information() {
        for (text, expected) in [
            ("docker.io", "https://index.docker.io/v1/"),
            ("docker.io/team", "index.docker.io/team"),
            ("https://user:s3cret@Registry.example/v2/", "registry.example"),
            ("registry.example:5000/team/", "registry.example:5000/team"),
        ] {
            assert_eq!(key(text).to_string(), expected);
        }
        assert_eq!(Key::parse("https:///v1/"), None);
        assert_eq!(Key::parse(" "), None);
    }
}
