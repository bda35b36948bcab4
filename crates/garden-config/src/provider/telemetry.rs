use serde::Serialize;

use crate::document::decode::Fields;
use crate::document::issue::Issue;
use crate::document::node::Node;
use crate::document::problems::Problems;

/// How long an address may be, in bytes.
const LONGEST: usize = 2048;

/// Where builders in the cluster send their spans: the provider's field `telemetry`, an extension that Garden does not have.
///
/// ```
/// use garden_config::ProviderConfig;
///
/// let mut provider = ProviderConfig::kubernetes("shop");
/// provider.telemetry.endpoint = Some("http://otel-collector.observability.svc:4318".to_owned());
/// provider.check()?;
/// # Ok::<(), garden_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TelemetryOptions {
    /// The address of an OpenTelemetry collector as pods reach it, which takes OTLP over HTTP: `http://host:4318`, or `https`. Without a path, spans go to `/v1/traces`
    /// there. It must not have a user name or a password. kaniko's maintained fork, from version 1.28, and `BuildKit` send their spans there. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

impl TelemetryOptions {
    /// Reads the field `telemetry`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Self {
        let Some(fields) = Fields::open(node, "`telemetry`", problems) else { return Self::default() };
        // Behind an alias, the line stands elsewhere.
        if fields.node("endpoint").is_some() {
            problems.hide(fields.key_position("endpoint"));
        }
        // A template often resolves to an empty text where there is no collector.
        let endpoint = fields.text("endpoint").map(str::trim).filter(|text| !text.is_empty());
        let options = Self { endpoint: endpoint.map(str::to_owned) };
        fields.finish_with(|| options.issues());
        options
    }

    pub(crate) fn issues(&self) -> Vec<Issue> {
        let unusable = self.endpoint.iter().filter(|endpoint| !is_usable(endpoint)).map(|_| {
            // It is not repeated: it may have a password.
            Issue::new(
                "endpoint",
                "`endpoint` is not the address of a collector",
                "write `http://host:4318` or `https://host`, without user name, password, `?` and `#`",
            )
        });
        unusable.collect()
    }

    /// Returns the address to which spans are sent, with its path; `None` without an `endpoint`, or if that is not an address.
    pub fn traces_url(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref()?;
        let (_, rest) = endpoint.split_once("://")?;
        let bare = endpoint.trim_end_matches('/');
        Some(match rest.split_once('/') {
            None | Some((_, "")) => format!("{bare}/v1/traces"),
            Some(_) => endpoint.to_owned(),
        })
    }
}

fn is_usable(endpoint: &str) -> bool {
    let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let Some(rest) = rest.filter(|_| endpoint.len() <= LONGEST) else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'?' | b'#' | b'\\' | b'"');
    !authority.is_empty() && !authority.starts_with(':') && rest.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str) -> TelemetryOptions {
        TelemetryOptions { endpoint: Some(endpoint.to_owned()) }
    }

    #[test]
    fn spans_go_to_the_usual_path_unless_there_is_another() {
        for (endpoint, url) in [
            ("http://collector.svc:4318", "http://collector.svc:4318/v1/traces"),
            ("https://collector/", "https://collector/v1/traces"),
            ("http://collector/otlp/v1/traces", "http://collector/otlp/v1/traces"),
        ] {
            assert_eq!(options(endpoint).traces_url().as_deref(), Some(url));
            assert!(options(endpoint).issues().is_empty(), "{endpoint}");
        }
        assert_eq!(TelemetryOptions::default().traces_url(), None);
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused_and_not_repeated() {
        let wrong = [
            "collector:4318",
            "grpc://collector",
            "http://",
            "http://:4318",
            "http://who:s3cret@collector",
            "http://a b",
            "http://a?key=s3cret",
        ];
        for endpoint in wrong {
            let issues = options(endpoint).issues();
            assert_eq!(issues.len(), 1, "{endpoint}");
            assert!(!format!("{issues:?}").contains("s3cret"), "{endpoint}");
        }
        assert_eq!(options(&format!("http://{}", "a".repeat(LONGEST))).issues().len(), 1);
    }
}
