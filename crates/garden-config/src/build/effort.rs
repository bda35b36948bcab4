//! How much it may take to tell which builds there are.

use crate::document::problems::Problems;
use crate::{ConfigError, Environment};

/// So much may pass through the templates of all documents that are asked whether they are built, in bytes. Each of them has a bound of its
/// own, and a project may have any number.
const MOST_HANDLED: usize = 512 * 1024 * 1024;

/// What asking the documents of a project has taken, from when it began.
pub(super) struct Effort<'e, 'p> {
    pub(super) environment: &'e Environment<'p>,
    before: usize,
}

impl<'e, 'p> Effort<'e, 'p> {
    pub(super) fn begin(environment: &'e Environment<'p>) -> Self {
        Self { environment, before: environment.handled() }
    }

    /// Makes sure that more documents may be asked.
    ///
    /// # Errors
    /// If those before have taken too much.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.environment.handled().wrapping_sub(self.before) <= MOST_HANDLED {
            return Ok(());
        }
        let project = self.environment.project();
        let problems = Problems::new(&project.source);
        let most = MOST_HANDLED / 1024 / 1024;
        let message = format!(
            "the templates of the project's modules and actions reckon with values of more than {most} MiB before it is known which \
             are built"
        );
        let hint =
            "let fewer `disabled`, `environments`, `image` and files of variables depend on large values";
        problems.report(crate::Position::START, message, Some(hint.to_owned()));
        Err(problems.into_error())
    }
}
