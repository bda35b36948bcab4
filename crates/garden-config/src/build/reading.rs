//! Reading the documents of all files of a project, once.

use std::sync::{Arc, OnceLock};

use crate::build::documents::BuildDocument;
use crate::build::kinds;
use crate::build::unexpanded::{Templates, Unexpanded};
use crate::document::node::Node;
use crate::document::problems::Problems;
use crate::project::{self, files, kind};
use crate::{ConfigError, Notice, Problem, Project};

/// All documents of a project's files, and what is wrong with some.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(super) builds: Vec<BuildDocument>,
    /// The names of others, with their kinds: a `Deploy` of the name that is looked for explains much.
    pub(super) others: Vec<(String, String)>,
    pub(super) unexpanded: Unexpanded,
    /// What Garden refuses, such as a file that is not YAML, and a document that it does not know.
    refused: Vec<Problem>,
    /// What Garden passes over with a warning.
    pub(crate) notices: Vec<Notice>,
}

/// The documents, once they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadOnce(Arc<OnceLock<Documents>>);

impl ReadOnce {
    /// Returns them, and reads them first if that has not succeeded yet.
    pub(crate) fn get(
        &self,
        read: impl FnOnce() -> Result<Documents, ConfigError>,
    ) -> Result<&Documents, ConfigError> {
        match self.0.get() {
            Some(documents) => Ok(documents),
            None => read().map(|documents| self.0.get_or_init(|| documents)),
        }
    }
}

/// Whether the files of a project were read already makes no difference to what it is.
impl PartialEq for ReadOnce {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Documents {
    /// More problems than this are not reported, nor more notices, in all files together.
    pub(super) const MOST_PROBLEMS: usize = 100;

    /// Reads the files of `project`; `own` are the documents of its own one.
    pub(crate) fn read(project: &Project, own: &[Node]) -> Result<Self, ConfigError> {
        let found = files::others(project)?;
        let mut all = Self { notices: found.notices, refused: found.refused, ..Self::default() };
        let mut templates = Templates::default();
        let own_problems = Problems::new(&project.source);
        for node in own {
            all.add(node.clone(), project, &mut templates, &own_problems);
        }
        all.conclude(own_problems);
        for source in found.sources {
            let problems = Problems::new(&source);
            for node in project::documents(&source, &problems).into_iter().flatten() {
                all.add(node, project, &mut templates, &problems);
            }
            all.conclude(problems);
        }
        all.unexpanded.retain_builders(&templates);
        Ok(all)
    }

    /// What Garden refuses in the project's files, if there is anything.
    pub(super) fn refused(&self) -> Option<ConfigError> {
        (!self.refused.is_empty()).then(|| ConfigError::new(self.refused.clone()))
    }

    fn add(&mut self, node: Node, project: &Project, templates: &mut Templates, problems: &Problems) {
        templates.add(&node, problems);
        self.unexpanded.add(problems.source(), &node);
        if let Some(generation) = kinds::read(&node, project.generation, problems) {
            self.builds.push(BuildDocument { source: problems.source().clone(), node, generation });
        } else {
            let name = node.as_mapping().and_then(|it| it.get("name")).and_then(Node::as_text);
            let known = kind(&node).zip(name);
            self.others.extend(known.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
        }
    }

    /// Keeps what was found out about one file.
    fn conclude(&mut self, problems: Problems) {
        let room = Self::MOST_PROBLEMS.saturating_sub(self.notices.len());
        self.notices.extend(problems.take_notices().into_iter().take(room));
        if problems.count() > 0 {
            let room = Self::MOST_PROBLEMS.saturating_sub(self.refused.len());
            self.refused.extend(problems.into_error().problems().iter().take(room).cloned());
        }
    }
}
