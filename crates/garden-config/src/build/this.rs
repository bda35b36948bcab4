//! What `${this.…}` stands for in a module or an action, besides its variables.

use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use crate::Environment;
use crate::build::documents::BuildDocument;
use crate::build::kinds::BuildGeneration;
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::keys::declared::DeclaredVariables;

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
        let build_path = |source: &PathBuf, in_place: bool| if in_place { source.clone() } else { staged };
        match self.generation {
            BuildGeneration::Module => {
                let path = self.directory().to_owned();
                let in_place = self.flag("local", &this, environment, own);
                this.insert("buildPath".to_owned(), shown(build_path(&path, in_place)));
                this.insert("path".to_owned(), shown(path));
            }
            BuildGeneration::Action => {
                // An action that is disabled is not read, and no other mode builds an image.
                this.insert("disabled".to_owned(), false.into());
                this.insert("mode".to_owned(), "default".into());
                let source = self.source_path(&this, environment, own);
                let in_place = self.flag("buildAtSource", &this, environment, own);
                this.insert("buildPath".to_owned(), shown(build_path(&source, in_place)));
                this.insert("sourcePath".to_owned(), shown(source));
            }
        }
        Some(this)
    }

    /// The action's directory, or where its `source.path` leads. A mistake in it is reported when the field is read.
    fn source_path(
        &self,
        this: &Map<String, Json>,
        environment: &Environment<'_>,
        own: &DeclaredVariables,
    ) -> PathBuf {
        let source = self.field("source", this, environment, own);
        let path =
            source.as_ref().and_then(Node::as_mapping).and_then(|source| source.get("path")?.as_text());
        path.map_or_else(|| self.directory().to_owned(), |path| self.directory().join(path))
    }

    /// Whether the field `name` is true. If that is unknown, it is not.
    fn flag(
        &self,
        name: &str,
        this: &Map<String, Json>,
        environment: &Environment<'_>,
        own: &DeclaredVariables,
    ) -> bool {
        self.field(name, this, environment, own).as_ref().and_then(Node::as_flag) == Some(true)
    }

    /// The field `name`, resolved as far as that is possible without what is asked for.
    fn field(
        &self,
        name: &str,
        this: &Map<String, Json>,
        environment: &Environment<'_>,
        own: &DeclaredVariables,
    ) -> Option<Node> {
        let keys = environment.keys(Some(this.clone()), Some(own));
        let node = self.resolved(&[name], &keys, &Problems::new(&self.source));
        node.as_mapping()?.get(name).cloned()
    }
}
