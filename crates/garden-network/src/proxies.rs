//! Which proxy stands before a URL: pure decisions.

use std::env;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// Which proxies connections go through.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Rules>>);

struct Rules {
    matcher: Matcher,
    /// The entries of `NO_PROXY` that name a port: `host:port`.
    direct: Vec<(Matcher, u16)>,
    /// Whether this machine itself is never behind a proxy.
    local_is_direct: bool,
    /// Who says so, for messages.
    source: &'static str,
}

/// What the environment says, by the names of the variables in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) all: String,
    pub(crate) no: String,
}

/// A proxy that stands before a URL.
#[derive(Clone)]
pub struct Proxy {
    intercept: Intercept,
    source: &'static str,
}

/// The address of a proxy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proxy address is not an http://, https:// or socks5:// URL with a host")]
pub struct InvalidProxy;

impl Proxies {
    /// Every connection is direct.
    pub fn none() -> Self {
        Self(None)
    }

    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, or the same names in lower case. They are read now.
    ///
    /// `NO_PROXY` is a list of host names (which stand for all names below them as well), addresses and networks
    /// (`10.0.0.0/8`), each with a port if only that is meant; `*` stands for all hosts. `localhost` and loopback addresses are
    /// never behind a proxy. Source: Go's `golang.org/x/net/http/httpproxy`, which `kubectl` and `docker` use.
    pub fn from_environment() -> Self {
        let read = |upper: &str, lower: &str| {
            let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
            given(upper).or_else(|| given(lower)).unwrap_or_default()
        };
        Self::of(&Variables {
            http: read("HTTP_PROXY", "http_proxy"),
            https: read("HTTPS_PROXY", "https_proxy"),
            all: read("ALL_PROXY", "all_proxy"),
            no: read("NO_PROXY", "no_proxy"),
        })
    }

    pub(crate) fn of(variables: &Variables) -> Self {
        let Variables { http, https, all, no } = variables;
        if [http, https, all].into_iter().all(String::is_empty) {
            return Self::none();
        }
        let entries = no.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let (with_port, hosts): (Vec<_>, Vec<_>) = entries.map(entry).partition(|(_, port)| port.is_some());
        let hosts: Vec<_> = hosts.into_iter().map(|(host, _)| as_matched(host)).collect();
        // What such an entry names is found by the same rules as what stands behind a proxy.
        let direct = with_port.into_iter().filter_map(|(host, port)| {
            let matcher = Matcher::builder().all("http://proxy.invalid").no(as_matched(host)).build();
            Some((matcher, port?))
        });
        let matcher = Matcher::builder()
            .http(with_escaped_user(http))
            .https(with_escaped_user(https))
            .all(with_escaped_user(all))
            .no(hosts.join(","))
            .build();
        Self(Some(Arc::new(Rules {
            matcher,
            direct: direct.collect(),
            local_is_direct: true,
            source: "the environment's HTTPS_PROXY, HTTP_PROXY or ALL_PROXY",
        })))
    }

    /// Every connection goes through the proxy at `url`, whatever the environment says. `source` says in messages who named it.
    ///
    /// # Errors
    /// If `url` is not a URL with one of the schemes `http`, `https`, `socks5` and `socks5h`, and a host.
    pub fn all_through(url: &str, source: &'static str) -> Result<Self, InvalidProxy> {
        let matcher = Matcher::builder().all(with_escaped_user(url)).build();
        let rules = Rules { matcher, direct: Vec::new(), local_is_direct: false, source };
        let proxies = Self(Some(Arc::new(rules)));
        let proxy = proxies.before(&Uri::from_static("https://host.invalid")).ok_or(InvalidProxy)?;
        if proxy.scheme().starts_with("socks4") {
            return Err(InvalidProxy);
        }
        Ok(proxies)
    }

    /// Whether a proxy stands before `url`.
    pub fn stand_before(&self, url: &Uri) -> bool {
        self.before(url).is_some()
    }

    /// Returns the proxy that stands before `url`, if one does.
    pub(crate) fn before(&self, url: &Uri) -> Option<Proxy> {
        let rules = self.0.as_ref()?;
        let host = url.host()?;
        if rules.local_is_direct && is_local(host) {
            return None;
        }
        let port = url.port_u16().or(match url.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        });
        let is_direct =
            |(matcher, of): &(Matcher, u16)| Some(*of) == port && matcher.intercept(url).is_none();
        if rules.direct.iter().any(is_direct) {
            return None;
        }
        let intercept = rules.matcher.intercept(url)?;
        Some(Proxy { intercept, source: rules.source })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without passwords: neither does the matcher show them.
        f.debug_tuple("Proxies").field(&self.0.as_ref().map(|rules| &rules.matcher)).finish()
    }
}

impl Proxy {
    /// Where the proxy is, without user name and password.
    pub fn url(&self) -> &Uri {
        self.intercept.uri()
    }

    pub(crate) fn scheme(&self) -> &str {
        self.url().scheme_str().unwrap_or_default()
    }

    /// What to connect to, with a port that every connector understands.
    pub(crate) fn address(&self) -> Result<Uri, http::Error> {
        let url = self.url();
        let default = if self.speaks_http() { 80 } else { 1080 };
        let authority = format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(default));
        Uri::builder().scheme("http").authority(authority).path_and_query("/").build()
    }

    /// Whether it is asked over HTTP, with or without TLS.
    pub(crate) fn speaks_http(&self) -> bool {
        matches!(self.scheme(), "http" | "https")
    }

    /// The value of `Proxy-Authorization` that it wants, if its address has a user name.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.intercept.basic_auth()
    }

    pub(crate) fn user(&self) -> Option<(&str, &str)> {
        self.intercept.raw_auth()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By its parts: whatever else an authority may hold stays out of messages.
        write!(f, "the proxy {}://{}", self.scheme(), self.url().host().unwrap_or_default())?;
        self.url().port_u16().map_or(Ok(()), |port| write!(f, ":{port}"))?;
        write!(f, " of {}", self.source)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits an entry of `NO_PROXY` into what names hosts, and a port.
fn entry(text: &str) -> (&str, Option<u16>) {
    if text.parse::<IpAddr>().is_ok() {
        return (text, None);
    }
    let Some((host, port)) = text.rsplit_once(':') else { return (text, None) };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    port.parse().map_or((text, None), |port| (host, Some(port)))
}

/// Writes a host of `NO_PROXY` as the matcher understands it: there, `*` stands for names only, and a domain has no `*`.
fn as_matched(host: &str) -> String {
    match host.strip_prefix("*.") {
        Some(domain) => format!(".{domain}"),
        None if host == "*" => "*,0.0.0.0/0,::/0".to_owned(),
        None => host.to_owned(),
    }
}

/// Escapes what a user name and a password may not hold in a URL and often do. They end at the last `@`, as Go and curl have it;
/// the matcher ends them at the first, and takes what follows for the host.
fn with_escaped_user(url: &str) -> String {
    let Some((user, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let (scheme, user) = user.split_once("://").map_or(("", user), |(scheme, user)| (scheme, user));
    let user = user.replace('@', "%40").replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{user}@{host}")
}

/// Whether `host`, as a URL has it, is this machine.
fn is_local(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://user:p%40ss@proxy.example:3128";

    fn of(https: &str, http: &str, no: &str) -> Proxies {
        let [https, http, no] = [https, http, no].map(str::to_owned);
        Proxies::of(&Variables { http, https, no, all: String::new() })
    }

    fn is_before(proxies: &Proxies, url: &str) -> bool {
        proxies.before(&url.parse().expect("a URL")).is_some()
    }

    #[test]
    fn the_scheme_decides_which_variable_counts() {
        let proxies = of(PROXY, "", "");
        assert!(is_before(&proxies, "https://registry.example/v2/"));
        assert!(!is_before(&proxies, "http://registry.example/v2/"));
        let proxies = of("", PROXY, "");
        assert!(!is_before(&proxies, "https://registry.example/v2/"));
        assert!(is_before(&proxies, "http://registry.example:5000/v2/"));
        let all = Variables { all: PROXY.to_owned(), ..Variables::default() };
        assert!(is_before(&Proxies::of(&all), "http://registry.example"));
        assert!(is_before(&Proxies::of(&all), "https://registry.example"));
        assert!(!is_before(&Proxies::none(), "https://registry.example"));
    }

    #[test]
    fn hosts_domains_networks_and_ports_are_spared() {
        let no =
            "example.org, .inner.example,10.0.0.0/8,192.168.1.7,fd00::/8,ported.example:5000,[fd01::1]:6443,";
        let proxies = of(PROXY, PROXY, no);
        for direct in [
            "https://example.org",
            "https://api.example.org:6443",
            "http://registry.inner.example:5000",
            "https://10.96.0.1",
            "https://192.168.1.7:6443",
            "https://[fd00::1]:6443",
            "http://ported.example:5000",
            "http://below.ported.example:5000",
            "https://[fd01::1]:6443",
        ] {
            assert!(!is_before(&proxies, direct), "{direct}");
        }
        for proxied in [
            "https://notexample.org",
            "https://11.0.0.1",
            "https://192.168.1.8",
            "https://ported.example",
            "http://ported.example:5001",
            "https://fd00.example",
        ] {
            assert!(is_before(&proxies, proxied), "{proxied}");
        }
        for url in
            ["https://registry.example", "https://10.0.0.5:6443", "https://[fd00::1]", "http://10.0.0.5:5000"]
        {
            assert!(!is_before(&of(PROXY, PROXY, "*"), url), "{url}");
        }
        assert!(!is_before(&of(PROXY, PROXY, "*:6443"), "https://10.0.0.5:6443"));
        assert!(is_before(&of(PROXY, PROXY, "*:6443"), "https://10.0.0.5:443"));
        let below = of(PROXY, PROXY, "*.corp.example,*.ported.example:5000");
        assert!(!is_before(&below, "https://registry.corp.example"));
        assert!(!is_before(&below, "http://registry.ported.example:5000"));
        assert!(is_before(&below, "https://notcorp.example"));
        assert!(!is_before(&of(PROXY, PROXY, "registry.example:443"), "https://registry.example/v2/"));
    }

    #[test]
    fn this_machine_is_spared_unless_the_proxy_is_for_all() {
        for url in
            ["https://localhost:6443", "https://127.0.0.1:6443", "https://[::1]:6443", "http://127.8.0.1"]
        {
            assert!(!is_before(&of(PROXY, PROXY, ""), url), "{url}");
            let all = Proxies::all_through(PROXY, "proxy-url in the kubeconfig").expect("valid");
            assert!(is_before(&all, url), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_a_proxy_is_refused() {
        for url in ["", "ftp://proxy.example", "socks4://proxy.example", "http://", "not a url"] {
            assert_eq!(Proxies::all_through(url, "a test").err(), Some(InvalidProxy), "{url}");
        }
        for url in ["http://p:1", "https://p", "socks5://p:1080", "socks5h://user:password@p:1080", "p:3128"]
        {
            Proxies::all_through(url, "a test").expect(url);
        }
    }

    #[test]
    fn passwords_are_sent_and_never_shown() {
        let proxy = of(PROXY, "", "").before(&Uri::from_static("https://a.example")).expect("a proxy");
        // `user:p@ss`
        assert_eq!(proxy.authorization().expect("a user").as_bytes(), b"Basic dXNlcjpwQHNz");
        for (user, header) in [("user:p@ss@", "Basic dXNlcjpwQHNz"), ("user:p#ss@", "Basic dXNlcjpwI3Nz")] {
            let proxies = of(&format!("http://{user}proxy.example:3128"), "", "");
            let proxy = proxies.before(&Uri::from_static("https://a.example")).expect("a proxy");
            assert_eq!(proxy.authorization().expect("a user"), header, "{user}");
            let shown = format!("{proxy} {proxy:?} {proxies:?}");
            assert!(shown.contains("http://proxy.example:3128") && !shown.contains("ss@"), "{shown}");
        }
        let shown = format!("{proxy} {proxy:?} {:?} {}", of(PROXY, "", ""), proxy.url());
        assert!(shown.contains("http://proxy.example:3128"), "{shown}");
        assert!(!shown.contains("p@ss") && !shown.contains("p%40ss") && !shown.contains("user"), "{shown}");
    }
}
