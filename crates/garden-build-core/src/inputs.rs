//! What goes into a build besides its context.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretSlice};
use serde::{Serialize, Serializer};

/// What a name in `FROM` or `COPY --from` stands for, in place of a stage or an image of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum NamedContext {
    /// The files of a directory, without those that its `.dockerignore` excludes.
    Directory(PathBuf),
    /// An image. Give it by digest if the version is to change when the image does.
    Image(String),
}

/// A secret for RUN steps that mount it. Never shown, hashed, or stored in the cluster.
#[derive(Clone)]
pub struct BuildSecret(SecretSlice<u8>);

impl BuildSecret {
    /// Keeps the bytes of a secret.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(SecretSlice::from(value.into()))
    }

    /// Hands out the bytes.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for BuildSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuildSecret(<redacted>)")
    }
}

impl PartialEq for BuildSecret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for BuildSecret {}

impl Serialize for BuildSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use crate::BuildRequest;

    #[test]
    fn a_request_can_be_shown_without_its_secrets() {
        let request = BuildRequest::new("api", ".").secret("token", "s3cret");
        let shown = format!("{request:?} {}", serde_json::to_string(&request).expect("JSON"));
        assert!(shown.contains("token") && !shown.contains("s3cret"), "{shown}");
    }
}
