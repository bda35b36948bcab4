use garden_build_core::ProxyUrl;
use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;

/// The proxies of what builds in the cluster: the provider's field `proxies`, an extension that Garden does not have. Builders pull
/// and push through them, and RUN steps get them as the build arguments `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, which every
/// Dockerfile knows. The fields are named as in the configuration of the `docker` command.
///
/// ```
/// use garden_config::ProviderConfig;
///
/// let mut provider = ProviderConfig::kubernetes("shop");
/// provider.proxies.https_proxy = Some("http://proxy.example:3128".into());
/// provider.proxies.no_proxy = Some("registry.example,10.0.0.0/8".to_owned());
/// provider.check()?;
/// # Ok::<(), garden_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProxyOptions {
    /// The proxy for plain HTTP: `http://host:port`, or `https` or `socks5` in place of `http`; user name and password may stand before
    /// the host. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub http_proxy: Option<ProxyUrl>,
    /// The proxy for what is encrypted. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub https_proxy: Option<ProxyUrl>,
    /// What is reached without a proxy: hosts, which stand for all names below them as well, addresses and networks (`10.0.0.0/8`), with
    /// commas between them. Services of the cluster, the API server and the pod itself are among them in any case. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
}

impl ProxyOptions {
    /// Reads the field `proxies`. No message quotes an address, and no line of it is shown: it may have a password.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`proxies`", problems) else { return Self::default() };
        for name in [HTTP, HTTPS] {
            // Behind an alias, the lines stand elsewhere.
            if fields.node(name).is_some() {
                problems.hide(fields.key_position(name));
            }
        }
        // A template often resolves to an empty text where the network has no proxy.
        let text = |name| fields.text(name).map(str::trim).filter(|text| !text.is_empty());
        let options = Self {
            http_proxy: text(HTTP).map(ProxyUrl::from),
            https_proxy: text(HTTPS).map(ProxyUrl::from),
            no_proxy: text("noProxy").map(str::to_owned),
        };
        fields.finish_with(|| options.issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let unusable = self.urls().filter(|(_, url)| !url.is_usable()).map(|(field, _)| {
            let message = format!("`{field}` is not the address of a proxy");
            Issue::new(
                field,
                message,
                "write `http://host:port`; `https://` and `socks5://` are possible as well",
            )
        });
        let spaced = self
            .no_proxy
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .find(|entry| entry.contains(|char: char| char.is_whitespace() || char.is_control()));
        let spaced = spaced.map(|entry| {
            Issue::new("noProxy", format!("`{entry}` in `noProxy` is not a host"), "separate hosts by commas")
        });
        unusable.chain(spaced).collect()
    }

    /// Returns the field of an address that has a user name or a password.
    pub(crate) fn field_with_credentials(&self) -> Option<&'static str> {
        self.urls().find(|(_, url)| url.has_credentials()).map(|(field, _)| field)
    }

    fn urls(&self) -> impl Iterator<Item = (&'static str, &ProxyUrl)> {
        let urls = [(HTTP, &self.http_proxy), (HTTPS, &self.https_proxy)];
        urls.into_iter().filter_map(|(field, url)| Some((field, url.as_ref()?)))
    }
}

const HTTP: &str = "httpProxy";
const HTTPS: &str = "httpsProxy";
