//! What a path asks for. Source: OCI Distribution Specification 1.1, "Endpoints".

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/token`, of the token server.
    Token,
    /// Something in a repository.
    In(String, Resource),
}

/// Something in a repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Resource {
    /// A manifest, by tag or by digest.
    Manifest(String),
    /// A blob, by digest.
    Blob(String),
    /// Where uploads begin.
    Uploads,
    /// An upload, by its id.
    Upload(String),
    /// The list of tags.
    Tags,
    /// What refers to the manifest of this digest.
    Referrers(String),
}

impl Route {
    /// Returns what is at `path`; `None` if nothing is.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        if path == "/token" {
            return Some(Self::Token);
        }
        match path.strip_prefix("/v2/")? {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/")?;
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Self::In(name.to_owned(), Resource::Tags));
        }
        if let Some(name) =
            rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads"))
        {
            return Some(Self::In(name.to_owned(), Resource::Uploads));
        }
        let (before, last) = rest.rsplit_once('/')?;
        let last = last.to_owned();
        // The longest first: a repository may be called `blobs`.
        let (name, resource) = if let Some(name) = before.strip_suffix("/blobs/uploads") {
            (name, Resource::Upload(last))
        } else if let Some(name) = before.strip_suffix("/manifests") {
            (name, Resource::Manifest(last))
        } else if let Some(name) = before.strip_suffix("/blobs") {
            (name, Resource::Blob(last))
        } else {
            (before.strip_suffix("/referrers")?, Resource::Referrers(last))
        };
        (!name.is_empty()).then(|| Self::In(name.to_owned(), resource))
    }
}

#[cfg(test)]
mod tests {
    use super::{Resource, Route};

    #[test]
    fn a_repository_has_any_number_of_parts() {
        let within = |name: &str, resource| Some(Route::In(name.to_owned(), resource));
        for (path, expected) in [
            ("/v2/", Some(Route::Base)),
            ("/v2/_catalog", Some(Route::Catalog)),
            ("/token", Some(Route::Token)),
            ("/v2/api/manifests/1", within("api", Resource::Manifest("1".to_owned()))),
            ("/v2/a/b/c/blobs/sha256:0", within("a/b/c", Resource::Blob("sha256:0".to_owned()))),
            ("/v2/a/blobs/uploads/", within("a", Resource::Uploads)),
            ("/v2/a/blobs/uploads/7", within("a", Resource::Upload("7".to_owned()))),
            ("/v2/blobs/blobs/tags/list", within("blobs/blobs", Resource::Tags)),
            ("/v2/a/referrers/sha256:0", within("a", Resource::Referrers("sha256:0".to_owned()))),
            ("/v2/a", None),
            ("/v1/a", None),
            ("/", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }
}
