//! What the path of a request names. Source: Kubernetes, "API Concepts", "Resource URIs".

use super::kind::{self, Kind};

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) kind: &'static Kind,
    /// `None` for all namespaces, and for kinds that are in none.
    pub(crate) namespace: Option<String>,
    /// `None` for the whole collection.
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Reads a path; `None` if there is nothing at it.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let words: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (api_version, rest) = match words.as_slice() {
            ["api", "v1", rest @ ..] => ("v1".to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if matches!(rest, [plural, ..] if kind::served_at(&api_version, plural).is_some()) => {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let (plural, name, subresource) = match *rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(name), None),
            [plural, name, subresource] => (plural, Some(name), Some(subresource)),
            _ => return None,
        };
        let kind = kind::served_at(&api_version, plural)?;
        // One object of a kind that lives in namespaces has one.
        let is_whole =
            if kind.is_namespaced { name.is_none() || namespace.is_some() } else { namespace.is_none() };
        is_whole.then(|| Self {
            kind,
            namespace,
            name: name.map(str::to_owned),
            subresource: subresource.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_objects_collections_and_subresources() {
        let read =
            |path| Target::parse(path).map(|it| (it.kind.plural, it.namespace, it.name, it.subresource));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read("/api/v1/pods"), Some(("pods", None, None, None)));
        assert_eq!(read("/api/v1/namespaces/a/pods"), Some(("pods", some("a"), None, None)));
        assert_eq!(
            read("/api/v1/namespaces/a/pods/b/log"),
            Some(("pods", some("a"), some("b"), some("log")))
        );
        assert_eq!(read("/api/v1/namespaces/a"), Some(("namespaces", None, some("a"), None)));
        assert_eq!(
            read("/api/v1/namespaces/a/status"),
            Some(("namespaces", None, some("a"), some("status")))
        );
        assert_eq!(read("/apis/apps/v1/namespaces/a/deployments/b").map(|it| it.0), Some("deployments"));
        for nothing in [
            "/",
            "/version",
            "/api/v1",
            "/api/v1/pods/b",
            "/api/v1/namespaces/a/nodes",
            "/apis/apps/v1/pods",
            "/api/v1/namespaces/a/pods/b/log/c",
        ] {
            assert!(read(nothing).is_none(), "{nothing}");
        }
    }
}
