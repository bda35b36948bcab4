//! `${…}` templates: texts of a project file that are computed from variables, the environment, the
//! git branch and so on.
//!
//! What a template may say and what it comes to is as in the Garden for which the project is written (the grammar
//! of Garden 0.12 is `core/src/template-string/parser.pegjs`, its functions stand in `functions.ts` beside it; 0.14
//! has both in `core/src/template`).
//! Where Garden prints `[object Object]`, crashes or does what surely nobody meant, this is a problem
//! instead; each such place says so.
//!
//! # From text to value
//! The text is cut into words ([`syntax`], after `grammar.pest`), the words of each placeholder make
//! an [`expression`] ([`parser`]), and expressions are computed with the help of a [`Scope`]
//! ([`evaluate`]), which knows what keys like `var.name` stand for. Only what is needed is computed:
//! the branch not taken may hold keys that do not exist.
//!
//! # Limits
//! A project file may come with any repository that somebody wants to look at, so a template cannot
//! overflow the stack (its nesting is bounded) or fill the memory (so are the values it builds), and
//! reading it takes time in proportion to its length.
//!
//! Why: docs/decisions/01-templates-have-their-own-engine.md

mod evaluate;
mod expression;
mod functions;
mod limits;
mod literal;
mod parser;
mod syntax;

#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

pub(crate) use self::limits::check_depth;
#[cfg(test)]
use crate::document::placeholder::{escape, is_template};
use crate::project::Generation;

/// Knows what the keys of templates stand for.
pub(crate) trait Scope {
    /// Looks up a path of keys, such as `var`, `images`, `0`.
    ///
    /// A template may ask for one path any number of times. A scope that resolves templates itself must
    /// remember what they came to, as variables that each mention the one before twice would take time
    /// without end, and must bound how many it resolves within each other.
    ///
    /// A [`Fault`] is a key that cannot be looked up at all, such as one within a text; nothing in
    /// the template can make up for it.
    fn look_up(&self, path: &[String]) -> Result<LookedUp, Fault>;

    /// Hears of each value that was looked up or built, and can put an end to it.
    fn handle(&self, value: &Value) -> Result<(), Fault> {
        let _ = value;
        Ok(())
    }
}

/// What became of a look-up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LookedUp {
    Found(Value),
    /// There is no such key, as the fault says. It is a problem unless the template makes up for it:
    /// `${key || "default"}`, `${key}?`.
    Missing(Fault),
}

/// What is wrong, before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn at(self, span: &Range<usize>) -> TemplateProblem {
        TemplateProblem { message: self.message, hint: self.hint, span: span.clone() }
    }
}

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateProblem {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Bytes within the template's text.
    pub(crate) span: Range<usize>,
}

/// A template that was read, and can be computed any number of times.
#[derive(Debug)]
pub(crate) struct Parsed {
    template: expression::Template,
    generation: Generation,
}

/// Reads a template as the Garden of `generation` does, which takes much longer than computing it.
pub(crate) fn parse(text: &str, generation: Generation) -> Result<Parsed, TemplateProblem> {
    Ok(Parsed { template: syntax::parse(text, generation)?, generation })
}

impl Parsed {
    /// Where a `?` follows a placeholder, which makes it optional, and more text follows that: so many bytes into the
    /// template. Whoever writes `${host}?a=b` may have meant a question mark.
    pub(crate) fn swallowed_question_mark(&self) -> Option<usize> {
        self.template.swallowed_question_mark()
    }

    /// Computes what the template comes to. A text that is one placeholder keeps the type of its value;
    /// anything else becomes a text.
    ///
    /// `None` is what `${…}?` comes to if there is nothing: the same as if the field were left out.
    pub(crate) fn resolve(&self, scope: &dyn Scope) -> Result<Option<Value>, TemplateProblem> {
        evaluate::template(&self.template, self.generation, scope)
    }
}

/// Reads and computes `text`, which need not be a template.
#[cfg(test)]
fn resolve(text: &str, generation: Generation, scope: &dyn Scope) -> Result<Option<Value>, TemplateProblem> {
    if is_template(text) { parse(text, generation)?.resolve(scope) } else { Ok(Some(text.into())) }
}
