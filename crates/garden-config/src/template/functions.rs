//! The functions that templates can call: those of Garden 0.12, and `range` of 0.14.
//!
//! Garden checks arguments with a schema library that also refuses most empty texts, takes texts for
//! numbers, and ignores arguments that are too many. Here an argument is what it is, empty texts are
//! texts, and each argument must be one that the function knows.

mod encodings;
mod lists;
mod texts;
mod words;

use std::ops::Range;

use serde_json::Value;

use super::{Fault, TemplateProblem};
use crate::document::suggest;
use crate::javascript::{as_integer, kind};

/// A function that templates can call.
pub(super) struct Function {
    name: &'static str,
    parameters: &'static [&'static str],
    /// How many of the parameters must be given.
    required: usize,
    /// Whether a key that is missing is passed as `null` instead of being a problem.
    pub(super) takes_missing: bool,
    run: fn(&Arguments<'_>) -> Result<Value, TemplateProblem>,
}

/// The value of an argument, and where it is written.
pub(super) struct Argument {
    pub(super) value: Value,
    pub(super) span: Range<usize>,
}

#[rustfmt::skip]
static FUNCTIONS: [Function; 22] = [
    function("base64Decode", &["string"], 1, encodings::base64_decode),
    function("base64Encode", &["string"], 1, encodings::base64_encode),
    function("camelCase", &["string"], 1, texts::camel_case),
    function("concat", &["arg1", "arg2"], 2, lists::concat),
    function("indent", &["string", "spaces"], 2, texts::indent),
    Function { takes_missing: true, ..function("isEmpty", &["value"], 1, lists::is_empty) },
    function("join", &["input", "separator"], 2, lists::join),
    function("jsonDecode", &["string"], 1, encodings::json_decode),
    function("jsonEncode", &["value"], 1, encodings::json_encode),
    function("kebabCase", &["string"], 1, texts::kebab_case),
    function("lower", &["string"], 1, texts::lower),
    function("range", &["first", "last"], 2, lists::range),
    function("replace", &["string", "substring", "replacement"], 3, texts::replace),
    function("sha256", &["string"], 1, encodings::sha256),
    function("slice", &["input", "start", "end"], 2, lists::slice),
    function("split", &["string", "separator"], 2, texts::split),
    function("string", &["value"], 1, texts::string),
    function("trim", &["string", "characters"], 1, texts::trim),
    function("upper", &["string"], 1, texts::upper),
    function("uuidv4", &[], 0, uuidv4),
    function("yamlDecode", &["string", "multiDocument"], 1, encodings::yaml_decode),
    function("yamlEncode", &["value", "multiDocument"], 1, encodings::yaml_encode),
];

const fn function(
    name: &'static str,
    parameters: &'static [&'static str],
    required: usize,
    run: fn(&Arguments<'_>) -> Result<Value, TemplateProblem>,
) -> Function {
    Function { name, parameters, required, takes_missing: false, run }
}

pub(super) fn find(name: &str) -> Result<&'static Function, Fault> {
    FUNCTIONS.iter().find(|function| function.name == name).ok_or_else(|| {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        let fault = Fault::new(format!("there is no function `{name}`"));
        Fault { hint: suggest::help(name, &names), ..fault }
    })
}

/// Calls a function; `span` is where the call is written.
pub(super) fn call(
    function: &Function,
    arguments: &[Argument],
    span: &Range<usize>,
) -> Result<Value, TemplateProblem> {
    let Function { name, parameters, .. } = function;
    if let Some(missing) = parameters[..function.required].get(arguments.len()) {
        return Err(Fault::new(format!("`{name}` needs the argument `{missing}`")).at(span));
    }
    if let Some(needless) = arguments.get(parameters.len()) {
        let message = match parameters.len() {
            0 => format!("`{name}` takes no arguments"),
            1 => format!("`{name}` takes only one argument"),
            most => format!("`{name}` takes only {most} arguments"),
        };
        return Err(Fault::new(message).at(&needless.span));
    }
    (function.run)(&Arguments { function, values: arguments, span })
}

/// Two builds of the same sources must have the same configuration.
fn uuidv4(arguments: &Arguments<'_>) -> Result<Value, TemplateProblem> {
    let fault = Fault::new("`uuidv4` would give each build another configuration");
    Err(arguments.problem(fault.hint("derive the text from the commit: `sha256(git.commitHash)`")))
}

/// What a function was called with. The methods that read an argument report it if it is not what
/// the function needs.
struct Arguments<'a> {
    function: &'a Function,
    values: &'a [Argument],
    span: &'a Range<usize>,
}

impl Arguments<'_> {
    /// Something that is wrong with the call as a whole.
    fn problem(&self, fault: Fault) -> TemplateProblem {
        fault.at(self.span)
    }

    /// Something that is wrong with the argument at `index`, as in "argument … `must_be`".
    fn wrong(&self, index: usize, must_be: &str) -> TemplateProblem {
        let (function, parameter) = (self.function.name, self.function.parameters[index]);
        let span = self.values.get(index).map_or(self.span, |argument| &argument.span);
        Fault::new(format!("argument `{parameter}` of `{function}` {must_be}")).at(span)
    }

    fn wrong_kind(&self, index: usize, needed: &str) -> TemplateProblem {
        self.wrong(index, &format!("must be {needed}, not {}", kind(self.value(index))))
    }

    fn is_given(&self, index: usize) -> bool {
        index < self.values.len()
    }

    fn value(&self, index: usize) -> &Value {
        self.values.get(index).map_or(&Value::Null, |argument| &argument.value)
    }

    fn text(&self, index: usize) -> Result<&str, TemplateProblem> {
        self.value(index).as_str().ok_or_else(|| self.wrong_kind(index, "text"))
    }

    /// A text that must not be empty.
    fn some_text(&self, index: usize) -> Result<&str, TemplateProblem> {
        let text = self.text(index)?;
        if text.is_empty() { Err(self.wrong(index, "must not be empty")) } else { Ok(text) }
    }

    fn list(&self, index: usize) -> Result<&[Value], TemplateProblem> {
        self.value(index).as_array().map(Vec::as_slice).ok_or_else(|| self.wrong_kind(index, "a list"))
    }

    fn integer(&self, index: usize) -> Result<i64, TemplateProblem> {
        let Value::Number(number) = self.value(index) else {
            return Err(self.wrong_kind(index, "a whole number"));
        };
        as_integer(number).ok_or_else(|| self.wrong(index, "must be a whole number"))
    }

    /// A boolean that may be left out.
    fn flag(&self, index: usize) -> Result<bool, TemplateProblem> {
        match self.value(index) {
            Value::Bool(flag) => Ok(*flag),
            _ if !self.is_given(index) => Ok(false),
            _ => Err(self.wrong_kind(index, "`true` or `false`")),
        }
    }
}
