use bytes::Bytes;
use http::{HeaderMap, Method};

/// A request, as the registry received it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path, such as `/v2/team/api/manifests/1`.
    pub path: String,
    /// What stands after the `?`, as it was sent; empty if there is none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; of a request that a fault has broken, as much of it as arrived.
    pub body: Bytes,
    /// The status of the answer. `None` as long as there is none, and if the connection was broken before it.
    pub status: Option<u16>,
}

impl Request {
    /// Describes a request without its body: for servers of a test's own that keep records.
    pub fn new(parts: &http::request::Parts) -> Self {
        Self {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
            body: Bytes::new(),
            status: None,
        }
    }

    /// Returns a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the header `Authorization`, if it is text.
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// Returns the first value of a parameter after the `?`, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        fields(self.query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns its body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether its method is `method` and its path matches `path`: `*` stands for any method, and in a path for any text, slashes
    /// included.
    pub fn matches(&self, method: &str, path: &str) -> bool {
        (method == "*" || method == self.method.as_str()) && matches(path, &self.path)
    }
}

/// Returns the fields of a query or of a form, decoded, in order.
pub(crate) fn fields(text: &[u8]) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(text).into_owned()
}

/// Whether `text` is as `pattern` says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("/v2/", "/v2/", true),
            ("/v2/", "/v2/a", false),
            ("/v2/*", "/v2/", true),
            ("/v2/*/blobs/*", "/v2/team/api/blobs/sha256:1", true),
            ("/v2/*/blobs/*", "/v2/team/api/manifests/1", false),
            ("*/manifests/1", "/v2/a/manifests/1", true),
            ("*/manifests/1", "/v2/a/manifests/11", false),
            // The same characters do not count for both ends.
            ("/v2*2/", "/v2/", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
