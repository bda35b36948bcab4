//! The variables of one declaration, with those of its files.

use crate::document::node::Node;
use crate::project::Generation;

/// The variables that a project, an environment, a module or an action declares: layers, the lowest first, each a mapping.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredVariables(Vec<Node>);

impl DeclaredVariables {
    /// Puts the variables of `files` above the declaration's `own` ones. Since Garden 0.14 each file is a layer of its own, whose
    /// variables see those below; before, all are one.
    ///
    /// Source: Garden 0.14, `VariablesContext` in `core/src/config/template-contexts/variables.ts`, which leaves out what is empty.
    pub(crate) fn new(
        own: Option<Node>,
        files: impl IntoIterator<Item = Node>,
        generation: Generation,
    ) -> Self {
        let is_some = |node: &Node| node.as_mapping().is_some_and(|mapping| !mapping.0.is_empty());
        let layers = own.into_iter().chain(files).filter(is_some);
        if generation >= Generation::V2 {
            return Self(layers.collect());
        }
        let merged = layers.reduce(|mut below, above| {
            below.merge(&above);
            below
        });
        Self(merged.into_iter().collect())
    }

    pub(crate) fn layers(&self) -> &[Node] {
        &self.0
    }
}
