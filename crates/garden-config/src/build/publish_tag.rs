//! The template of the tag that an image is published with.

use serde_json::{Map, Value as Json};

use crate::document::node::{Node, Value};
use crate::document::problems::{Problems, Source};
use crate::javascript;
use crate::keys::{Keys, PublishedKeys, resolve};
use crate::{BuildConfig, ConfigError, Environment, Position};

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
            number @ Json::Number(_) => javascript::text(&number),
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
