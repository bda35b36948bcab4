//! From the document of a module or an action to what is built.

use garden_build_core::IgnoreFiles;

use super::documents::BuildDocument;
use super::kinds::BuildGeneration;
use super::{action, module};
use crate::document::decode::{Fields, report_duplicate_keys};
use crate::document::problems::Problems;
use crate::keys::{question_marks, resolve};
use crate::{BuildConfig, ConfigError, Environment};

impl BuildConfig {
    /// Reads the document of a module or an action.
    pub(crate) fn of_document(
        document: &BuildDocument,
        environment: &Environment<'_>,
    ) -> Result<Self, ConfigError> {
        let problems = Problems::new(&document.source);
        let build = Self::read(document, environment, &problems);
        let project = environment.project();
        let build = build.map(|build| Self {
            ignore_files: Some(IgnoreFiles::new(&project.scan.ignore_files, project.directory())),
            notices: environment
                .notices_of_variables()
                .iter()
                .cloned()
                .chain(problems.take_notices())
                .collect(),
            ..build
        });
        problems.into_result(build)
    }

    fn read(document: &BuildDocument, environment: &Environment<'_>, problems: &Problems) -> Option<Self> {
        report_duplicate_keys(&document.node, problems);
        document.check_type(problems)?;
        let own = document.own_variables(environment, problems);
        let (set_aside, what): (&[&str], _) = match document.generation {
            BuildGeneration::Module => (&module::SET_ASIDE, "a container module"),
            BuildGeneration::Action => (&action::SET_ASIDE, "a Build action"),
        };
        let keys = environment.keys(document.this(environment, &own), Some(&own));
        for layer in own.layers() {
            question_marks::notice(layer, "variables", &keys, problems);
        }
        document.refuse_brought(&keys, problems);
        let node = resolve::fields(&document.node, set_aside, &keys, problems);
        let fields = Fields::open(&node, what, problems)?;
        fields.set_aside(set_aside);

        let mut build = Self::new(fields.required_text("name").unwrap_or_default(), document.directory());
        build.include = fields.node("include").map(|_| fields.texts("include"));
        build.exclude = fields.texts("exclude");
        document.refuse_disabled(&fields, problems);
        let place = match document.generation {
            BuildGeneration::Module => module::read(&fields, &mut build, environment, problems),
            BuildGeneration::Action => action::read(&fields, &mut build, environment, problems),
        };
        fields.finish_with(|| build.issues().into_iter().map(|issue| issue.placed(place)).collect());
        Some(build)
    }
}
