//! What `${this.…}` stands for in a module or an action, besides its variables.

use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use crate::Environment;
use crate::build::documents::BuildDocument;
use crate::build::kinds::BuildGeneration;
use crate::document::node::{Node, Value};
use crate::document::problems::Problems;
use crate::keys::declared::DeclaredVariables;
use crate::keys::resolve;

impl BuildDocument {
    /// The fields of `${this}`, in a document with the variables `own`; `None` if it has no name.
    ///
    /// Source: Garden, `core/src/config/template-contexts`: `ModuleThisContext` of `module.ts`, and `ActionReferenceContext`
    /// of `actions.ts`.
    pub(crate) fn this(
        &self,
        environment: &Environment<'_>,
        own: &DeclaredVariables,
    ) -> Option<Map<String, Json>> {
        let project = environment.project();
        let shown = |path: PathBuf| Json::from(project.shown_path(&path).to_string_lossy());
        let name = self.name()?;
        let mut this = Map::new();
        this.insert("name".to_owned(), name.into());
        let staged = project.directory().join(".garden/build").join(name);
        match self.generation {
            BuildGeneration::Module => {
                this.insert("path".to_owned(), shown(self.directory().to_owned()));
                this.insert("buildPath".to_owned(), shown(staged));
            }
            BuildGeneration::Action => {
                // An action that is disabled is not read, and no other mode builds an image.
                this.insert("disabled".to_owned(), false.into());
                this.insert("mode".to_owned(), "default".into());
                let source = self.source_path(&this, environment, own);
                let in_place =
                    self.field("buildAtSource").is_some_and(|node| node.value == Value::Bool(true));
                this.insert("buildPath".to_owned(), shown(if in_place { source.clone() } else { staged }));
                this.insert("sourcePath".to_owned(), shown(source));
            }
        }
        Some(this)
    }

    /// The action's directory, or where its `source.path` leads. What is wrong with that is told when the field is read.
    fn source_path(
        &self,
        this: &Map<String, Json>,
        environment: &Environment<'_>,
        own: &DeclaredVariables,
    ) -> PathBuf {
        let node = self.field("source").and_then(Node::as_mapping).and_then(|source| source.get("path"));
        let Some(node) = node else { return self.directory().to_owned() };
        let problems = Problems::new(&self.source);
        let node = resolve::all(node, &environment.keys(Some(this.clone()), Some(own)), &problems);
        node.as_text().map_or_else(|| self.directory().to_owned(), |path| self.directory().join(path))
    }

    fn field(&self, name: &str) -> Option<&Node> {
        self.node.as_mapping()?.get(name)
    }
}
