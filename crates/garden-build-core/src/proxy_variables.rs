//! The variables by which programs learn of the proxies of their network.
//!
//! Why: docs/decisions/55-builders-get-proxies-as-variables.md

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// The address of a proxy: `http://host:port`, or `https` or `socks5` in place of `http`. A user name and a password may stand
/// before the host; neither `Debug` nor `Display` nor `Serialize` shows them.
///
/// ```
/// use garden_build_core::ProxyUrl;
///
/// let proxy = ProxyUrl::from("http://user:secret@proxy.example:3128");
/// assert_eq!(proxy.to_string(), "http://<redacted>@proxy.example:3128");
/// ```
#[derive(Clone)]
pub struct ProxyUrl(SecretString);

impl ProxyUrl {
    /// Hands out the address as it was given.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether a user name or a password is in it.
    pub fn has_credentials(&self) -> bool {
        self.parts().1.is_some()
    }

    /// Whether programs can take it for the address of a proxy: a host after one of the schemes `http`, `https`, `socks5` and `socks5h`,
    /// or after none, which means `http`. Source: Go's `golang.org/x/net/http/httpproxy`, and `net/http/transport.go`.
    pub fn is_usable(&self) -> bool {
        let (scheme, _, host) = self.parts();
        let known = ["", "http://", "https://", "socks5://", "socks5h://"];
        let is_known = known.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let has_host = host.starts_with(|first: char| first.is_alphanumeric() || first == '[');
        is_known
            && has_host
            && !self.expose().contains(|char: char| char.is_whitespace() || char.is_control())
    }

    /// What stands before the user name, the user name with the password, and the host with all that follows. The user name ends at
    /// the last `@`, as Go and curl have it.
    fn parts(&self) -> (&str, Option<&str>, &str) {
        let text = self.expose();
        let start = text.find("://").map_or(0, |at| at + 3);
        let (scheme, rest) = text.split_at(start);
        rest.rsplit_once('@').map_or((scheme, None, rest), |(user, host)| (scheme, Some(user), host))
    }
}

impl From<&str> for ProxyUrl {
    fn from(address: &str) -> Self {
        Self(SecretString::from(address))
    }
}

impl From<String> for ProxyUrl {
    fn from(address: String) -> Self {
        Self(SecretString::from(address))
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, user, host) = self.parts();
        write!(f, "{scheme}{}{host}", if user.is_some() { "<redacted>@" } else { "" })
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for ProxyUrl {}

impl Serialize for ProxyUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The environment variables that name proxies: `HTTP_PROXY`, `NO_PROXY` and so on. Programs look for them in upper case, in
/// lower case, or in both.
///
/// They are also build arguments that every Dockerfile has without declaring them.
/// Source: Docker's Dockerfile reference, "Predefined ARGs".
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub struct ProxyVariables {
    /// By the names of the variables in upper case.
    #[serde(flatten)]
    urls: BTreeMap<&'static str, ProxyUrl>,
    #[serde(rename = "NO_PROXY", skip_serializing_if = "String::is_empty")]
    no_proxy: String,
}

/// The variable that lists what is reached without a proxy.
const NO_PROXY: &str = "NO_PROXY";

impl ProxyVariables {
    /// Sets the variables of these names, in upper case, to addresses of proxies, and `NO_PROXY` to `no_proxy`: hosts, addresses and
    /// networks with commas between them.
    pub fn new(
        urls: impl IntoIterator<Item = (&'static str, ProxyUrl)>,
        no_proxy: impl Into<String>,
    ) -> Self {
        Self { urls: urls.into_iter().collect(), no_proxy: no_proxy.into() }
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty() && self.no_proxy.is_empty()
    }

    /// Returns those that name proxies, by their names in upper case.
    pub fn urls(&self) -> impl Iterator<Item = (&'static str, &ProxyUrl)> {
        self.urls.iter().map(|(name, url)| (*name, url))
    }

    /// Returns what `NO_PROXY` is set to.
    pub fn no_proxy(&self) -> &str {
        &self.no_proxy
    }

    /// Returns the variables as build arguments, each in both cases. One that the build arguments of a request, `given`, set in any case
    /// is left out. Values have the passwords.
    pub fn build_args(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        self.unless(given, ProxyUrl::expose)
    }

    /// Returns the same for showing it: no value has a user name or a password.
    pub fn shown_build_args(&self, given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        self.unless(given, ToString::to_string)
    }

    fn unless<'a, T: Into<String>>(
        &'a self,
        given: &BTreeMap<String, String>,
        text: impl Fn(&'a ProxyUrl) -> T,
    ) -> BTreeMap<String, String> {
        let urls = self.urls().map(|(name, url)| (name, text(url).into()));
        let no_proxy = (!self.no_proxy.is_empty()).then(|| (NO_PROXY, self.no_proxy.clone()));
        let is_given = |name: &str| given.keys().any(|given| given.eq_ignore_ascii_case(name));
        let wanted = urls.chain(no_proxy).filter(|(name, _)| !is_given(name));
        wanted
            .flat_map(|(name, value)| [(name.to_owned(), value.clone()), (name.to_ascii_lowercase(), value)])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_user_name_nor_password_is_shown() {
        for (address, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("http://who:s3cr@t@proxy.example:3128/", "http://<redacted>@proxy.example:3128/"),
            ("socks5://s3cret@proxy.example", "socks5://<redacted>@proxy.example"),
            ("who:s3cret@proxy.example:3128", "<redacted>@proxy.example:3128"),
            ("http://who:s3/cr?t#x@[fd00::1]:3128", "http://<redacted>@[fd00::1]:3128"),
        ] {
            let url = ProxyUrl::from(address);
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
            assert_eq!(serde_json::to_value(&url).expect("JSON"), shown);
            assert_eq!(url.expose(), address);
            assert_eq!(url.has_credentials(), shown != address);
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_scheme_that_programs_know() {
        for address in [
            "http://p:3128",
            "https://p",
            "socks5://u:p@p:1080",
            "socks5h://p",
            "p:3128",
            "http://[fd00::1]:1/",
        ] {
            assert!(ProxyUrl::from(address).is_usable(), "{address}");
        }
        for address in [
            "",
            "http://",
            "http://u@",
            "ftp://p",
            "http:///p",
            "http://a b",
            "http://p\n",
            ":3128",
            "HTTP//p?://",
        ] {
            assert!(!ProxyUrl::from(address).is_usable(), "{address:?}");
        }
    }

    #[test]
    fn a_variable_is_set_in_both_cases_unless_the_request_sets_it_in_one() {
        let variables = ProxyVariables::new(
            [("HTTP_PROXY", "http://p:1".into()), ("HTTPS_PROXY", "http://who:s3cret@p:2".into())],
            "a.example,.b",
        );
        let given =
            BTreeMap::from([("http_proxy".to_owned(), "mine".to_owned()), ("A".to_owned(), "1".to_owned())]);
        let args = variables.build_args(&given);
        let expected = [
            ("HTTPS_PROXY", "http://who:s3cret@p:2"),
            ("NO_PROXY", "a.example,.b"),
            ("https_proxy", "http://who:s3cret@p:2"),
            ("no_proxy", "a.example,.b"),
        ];
        assert_eq!(
            args.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
            expected
        );
        assert!(variables.build_args(&BTreeMap::new()).contains_key("http_proxy"));

        let json = serde_json::to_string(&variables).expect("JSON");
        let shown = format!("{variables:?} {json} {:?}", variables.shown_build_args(&given));
        assert!(shown.contains("http://<redacted>@p:2") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn nothing_is_set_by_default() {
        assert!(ProxyVariables::default().is_empty());
        assert_eq!(ProxyVariables::default().build_args(&BTreeMap::new()), BTreeMap::new());
    }
}
