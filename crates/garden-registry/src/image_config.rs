//! What the configuration of an image says.

use serde::Deserialize;

use crate::client::RegistryClient;
use crate::error::RegistryError;
use crate::manifest::{Manifest, ManifestKind};

/// The largest configuration that is read, in bytes. They have a few KiB.
const LARGEST: u64 = 4 * 1024 * 1024;

/// An image's configuration, as far as it matters to builds that begin with the image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ImageConfig {
    /// The instructions (`ONBUILD`) that a build which begins with the image runs first.
    pub triggers: Vec<String>,
}

/// Source: Docker image specification v1.3, `spec.md`, section `OnBuild`.
#[derive(Deserialize)]
struct Document {
    config: Option<RunConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    on_build: Option<Vec<String>>,
}

impl ImageConfig {
    /// Describes where a text that is not a configuration breaks off from one; what it holds there is not repeated.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| {
            format!(
                "it is not an image's configuration: see line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        let triggers = document.config.and_then(|config| config.on_build).unwrap_or_default();
        Ok(Self { triggers })
    }
}

impl RegistryClient {
    /// Reads the configuration of the image that `manifest`, in `repository`, is of.
    ///
    /// # Errors
    /// If it is not of one, or its configuration cannot be read.
    pub async fn image_config(
        &self,
        repository: &str,
        manifest: &Manifest,
    ) -> Result<ImageConfig, RegistryError> {
        let wrong = |digest, reason| RegistryError::WrongContent {
            server: self.server(),
            repository: repository.to_owned(),
            digest,
            reason,
        };
        let config = manifest.config();
        let what = match manifest.kind() {
            ManifestKind::Index => "it is a list of images, and none of them",
            ManifestKind::Image | ManifestKind::Unknown => "it is not an image",
        };
        let config = config.ok_or_else(|| wrong(manifest.digest(), what.to_owned()))?;
        let text = self.blob(repository, config)?.bytes(LARGEST).await?;
        ImageConfig::parse(&text).map_err(|reason| wrong(config.digest, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_read_where_there_are_any() {
        for text in ["{}", r#"{"config":null}"#, r#"{"config":{"OnBuild":null}}"#, r#"{"config":{"Cmd":[]}}"#]
        {
            assert_eq!(ImageConfig::parse(text.as_bytes()), Ok(ImageConfig::default()), "{text}");
        }
        let config = ImageConfig::parse(br#"{"config":{"OnBuild":["COPY . /app"]}}"#).expect("valid");
        assert_eq!(config.triggers, ["COPY . /app"]);
    }

    #[test]
    fn what_is_not_one_is_not_repeated() {
        let text = format!(r#"{{"config":"{}"}}"#, "x".repeat(100_000));
        let reason = ImageConfig::parse(text.as_bytes()).expect_err("a text where an object belongs");
        assert!(reason.contains("line 1") && reason.len() < 100, "{reason}");
    }
}
