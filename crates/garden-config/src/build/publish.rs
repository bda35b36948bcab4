//! Under what name an image is published.

use garden_build_core::{ImageReference, ReferenceError};

use crate::document::issue::Issue;
use crate::{BuildConfig, ConfigError};

impl BuildConfig {
    /// Returns the name under which the image of `version` is published: that of `publishId`, with `tag` if it is
    /// given, else with the tag in `publishId`, else with the version.
    ///
    /// # Errors
    /// If `publishId` is not set, or `tag` cannot be a tag.
    pub fn public_image(&self, version: &str, tag: Option<&str>) -> Result<ImageReference, ConfigError> {
        let issue = |message: String, hint: &str| {
            ConfigError::from_issues(vec![Issue::new("publishId", message, hint)])
        };
        let Some(id) = &self.publish_id else {
            let message = format!("`{}` cannot be published: it has no public name", self.name);
            let hint =
                "set `publishId`, or in a module `image`, to a name like `registry.example/team/image`";
            return Err(issue(message, hint));
        };
        let hint = "write it like `registry.example/team/image:1.0`";
        let named: ImageReference =
            id.parse().map_err(|error: ReferenceError| issue(error.to_string(), hint))?;
        // A reference without a tag is read as one with `latest`.
        let name = id.rsplit_once('/').map_or(id.as_str(), |(_, name)| name);
        let own = named.tag().filter(|_| name.contains(':'));
        let tag = tag.or(own).unwrap_or(version);
        named.with_tag(tag).map_err(|_| {
            let message = format!("`{}` cannot be a tag", tag.escape_debug());
            issue(message, "a tag has letters, digits, `_`, `.` and `-`, begins with one of the first three, and has at most 128 of them")
        })
    }
}
