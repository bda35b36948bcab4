//! Under what name an image is published.

use garden_build_core::{ImageReference, ReferenceError};
use serde_json::{Map, Value as Json};

use crate::document::issue::Issue;
use crate::document::node::{Node, Value};
use crate::document::problems::{Problems, Source};
use crate::keys::{Keys, PublishedKeys, resolve};
use crate::{BuildConfig, ConfigError, Environment, Position, template as templates};

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

impl Environment<'_> {
    /// Resolves the template of a tag, in which, beside all keys of the environment, `${module.name}`,
    /// `${module.version}` and `${module.hash}` (the version without `v-`) stand for the image that is published;
    /// `action` may be written for `module`.
    ///
    /// # Errors
    /// If a template cannot be resolved, or does not come to a text or number.
    pub fn publish_tag(
        &self,
        build: &BuildConfig,
        version: &str,
        template: &str,
    ) -> Result<String, ConfigError> {
        let source = Source::new(std::path::Path::new("the tag to publish with"), template);
        let problems = Problems::new(&source);
        let node = Node { position: Position::START, value: Value::String(template.to_owned()) };
        let published = Some(PublishedKeys { name: &build.name, version });
        let this = Map::from_iter([("name".to_owned(), Json::from(build.name.as_str()))]);
        let keys = Keys { published, ..self.keys(Some(this), None) };
        let tag = match resolve::all(&node, &keys, &problems).to_json() {
            Json::String(tag) => Some(tag),
            number @ Json::Number(_) => templates::text(&number),
            other => {
                if problems.count() == 0 {
                    let message = format!("the tag must come to a text, not to {other}");
                    problems.report(Position::START, message, None);
                }
                None
            }
        };
        problems.into_result(tag)
    }
}
