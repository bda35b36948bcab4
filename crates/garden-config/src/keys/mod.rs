//! What the keys of templates stand for: `${environment.name}`, `${var.replicas}`, `${git.branch}`.

pub(crate) mod declared;
mod elsewhere;
pub(crate) mod git;
mod git_config;
mod layer;
pub(crate) mod locals;
pub(crate) mod question_marks;
pub(crate) mod reports;
pub(crate) mod resolve;
pub(crate) mod variables;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::document::suggest;
use crate::keys::locals::Git;
use crate::keys::variables::Variables;
use crate::project::Generation;
use crate::project::varfile::Imported;
use crate::template::{Fault, LookedUp, Scope};
use crate::{GitState, Locals, Position};

/// The keys that one text may use. Those that are not known yet are `None`.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    /// How templates are read.
    pub(crate) generation: Generation,
    pub(crate) locals: &'a Locals,
    /// The project's name and its directory.
    pub(crate) project: (&'a str, PathBuf),
    pub(crate) environment: Option<EnvironmentKeys<'a>>,
    pub(crate) variables: Variables<'a>,
    /// What `importVariables` has brought.
    pub(crate) imported: Option<&'a Imported>,
    /// What is known of the module or action that the text belongs to, besides its variables: `${this.name}`.
    pub(crate) this: Option<Map<String, Value>>,
    /// The image that a tag is made for.
    pub(crate) published: Option<PublishedKeys<'a>>,
}

/// `${module.…}` and `${action.…}` in the tag with which an image is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishedKeys<'a> {
    /// The module's or action's name.
    pub(crate) name: &'a str,
    /// The image's version, with `v-` before it.
    pub(crate) version: &'a str,
}

/// `${environment.…}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvironmentKeys<'a> {
    pub(crate) name: &'a str,
    /// `None` where the environment has no default namespace, and none was asked for.
    pub(crate) namespace: Option<&'a str>,
}

impl Keys<'_> {
    /// Sees all variables.
    pub(crate) fn all(&self) -> View<'_> {
        View { keys: self, within: None }
    }
}

/// The keys as a text sees them, or a variable: with the variables up to its own layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) keys: &'a Keys<'a>,
    /// The variable that the text belongs to.
    pub(crate) within: Option<Asker<'a>>,
}

/// A variable of a layer, whose templates ask for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) layer: usize,
    pub(crate) path: &'a [String],
    /// So many parts of the path lead to what is resolved: the variable may come of an operation around it.
    pub(crate) depth: usize,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(layer: usize, path: &'a [String]) -> Self {
        Self { layer, path, depth: path.len() }
    }
}

const KNOWN: [&str; 11] = [
    "local",
    "git",
    "project",
    "environment",
    "command",
    "imported",
    "var",
    "variables",
    "this",
    "module",
    "action",
];

impl Scope for View<'_> {
    fn handle(&self, value: &Value) -> Result<(), Fault> {
        self.keys.variables.handle(value)
    }

    fn look_up(&self, path: &[String]) -> Result<LookedUp, Fault> {
        let Some(first) = path.first().map(String::as_str) else { return Ok(missing(path, &[])) };
        let keys = self.keys;
        if let Some(found) = self.imported(path) {
            return Ok(found);
        }
        if let Some(elsewhere) = elsewhere::look_up(first) {
            return elsewhere;
        }
        let value = match first {
            "local" => local(keys.locals, &keys.project.1, path.get(1).map(String::as_str)),
            "git" => {
                let Some(git) = git(&keys.locals.git, &keys.project.1)? else {
                    let fault = Fault::new("the project is not in a git repository");
                    return Ok(LookedUp::Missing(fault.hint("write the value itself")));
                };
                git
            }
            "command" => command(),
            "imported" => {
                let imported = keys.imported.cloned().unwrap_or_default();
                let found = descend(Value::Object(imported.variables), path);
                return Ok(match imported.passed_over {
                    Some(source) => explained(found, source),
                    None => found,
                });
            }
            "project" => mapping([("name", text(keys.project.0))]),
            "environment" => match keys.environment {
                Some(environment) => environment.keys(),
                None => {
                    return Err(Fault::new("`environment` is not known here")
                        .hint("use it inside of an environment, a provider, a module or an action"));
                }
            },
            "this" | "self" if keys.this.is_some() => match path.get(1).map(String::as_str) {
                Some("var" | "variables") => return self.variable(&path[2..]),
                _ => Value::Object(keys.this.clone().unwrap_or_default()),
            },
            "module" | "action" if keys.published.is_some() => {
                keys.published.map(PublishedKeys::keys).unwrap_or_default()
            }
            "var" | "variables" => return self.variable(&path[1..]),
            _ => {
                // Written as an environment variable is, which shells find by this.
                let is_variable = first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                let is_known = |name: &&str| match *name {
                    "this" => keys.this.is_some(),
                    "module" | "action" => keys.published.is_some(),
                    _ => true,
                };
                let known: Vec<&str> = KNOWN.into_iter().filter(is_known).collect();
                let hint = if is_variable {
                    Some(format!("for an environment variable, write `local.env.{first}`"))
                } else {
                    suggest::help(first, &known)
                };
                return Ok(LookedUp::Missing(Fault { hint, ..Fault::new(format!("there is no `{first}`")) }));
            }
        };
        Ok(descend(value, path))
    }
}

impl View<'_> {
    /// Looks up one of the imported variables, which Garden 0.14 also keeps among the secrets.
    fn imported(&self, path: &[String]) -> Option<LookedUp> {
        let [first, name, rest @ ..] = path else { return None };
        let found = matches!(first.as_str(), "imported" | "secrets")
            .then(|| self.keys.imported?.variables.get(name))??;
        // All are texts, in which there is nothing.
        Some(if rest.is_empty() { LookedUp::Found(found.clone()) } else { missing(path, &[]) })
    }

    /// Looks a variable up. Within a layer, what the layers below have counts before what stands beside it, as with Garden:
    /// so a variable can extend the one of its own name.
    fn variable(&self, path: &[String]) -> Result<LookedUp, Fault> {
        let variables = &self.keys.variables;
        if variables.are_unknown {
            return Err(Fault::new("the variables cannot be read"));
        }
        match self.within {
            None => variables.look_up(path, variables.all()),
            Some(asker) => variables.look_up_from(asker, path),
        }
    }
}

impl EnvironmentKeys<'_> {
    fn keys(self) -> Value {
        let mut keys = Map::new();
        keys.insert("name".to_owned(), text(self.name));
        if let Some(namespace) = self.namespace {
            keys.insert("namespace".to_owned(), text(namespace));
            keys.insert("fullName".to_owned(), text(&format!("{namespace}.{}", self.name)));
        }
        Value::Object(keys)
    }
}

impl PublishedKeys<'_> {
    /// Source: Garden, `core/src/tasks/publish.ts`.
    fn keys(self) -> Value {
        let hash = self.version.strip_prefix("v-").unwrap_or(self.version);
        mapping([("name", text(self.name)), ("version", text(self.version)), ("hash", text(hash))])
    }
}

/// The environment is large, so only what is asked for is put together.
fn local(locals: &Locals, directory: &Path, key: Option<&str>) -> Value {
    let mut local = Map::new();
    if key.is_none_or(|key| key == "env") {
        let env = locals.env.iter().map(|(name, value)| (name.clone(), text(value)));
        local.insert("env".to_owned(), Value::Object(env.collect()));
    }
    if let Some(username) = &locals.username {
        local.insert("username".to_owned(), text(username));
        local.insert("usernameLowerCase".to_owned(), text(&username.to_lowercase()));
    }
    local.insert("platform".to_owned(), text(&locals.platform));
    local.insert("arch".to_owned(), text(&locals.arch));
    local.insert("projectPath".to_owned(), text(&directory.to_string_lossy()));
    local.insert("artifactsPath".to_owned(), text(&directory.join(".garden/artifacts").to_string_lossy()));
    Value::Object(local)
}

fn git(git: &Git, directory: &Path) -> Result<Option<Value>, Fault> {
    let state = match git {
        Git::State(state) => Some(state.clone()),
        Git::None => None,
        Git::OfProject => {
            // The path of a file without a directory starts here.
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            GitState::of_directory(directory).map_err(|error| {
                Fault::new(format!("the git repository of the project cannot be read: {error}"))
            })?
        }
    };
    Ok(state.map(|state| {
        mapping([
            ("branch", text(&state.branch)),
            ("commitHash", text(&state.commit_hash)),
            ("originUrl", text(&state.origin_url)),
        ])
    }))
}

/// The command `garden build` without arguments and options, which is what a build here stands for.
fn command() -> Value {
    let params = ["force", "watch", "with-dependants"].map(|name| (name, Value::Bool(false)));
    mapping([("name", text("build")), ("params", mapping(params))])
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Follows `path`, of which `value` is the first part.
fn descend(value: Value, path: &[String]) -> LookedUp {
    follow(value, &path[1..])
        .map_or_else(|(depth, keys)| missing(&path[..=depth + 1], &keys), LookedUp::Found)
}

/// Follows `path` down into `value`; else says after how many parts it ends, and which keys are there.
fn follow(mut value: Value, path: &[String]) -> Result<Value, (usize, Vec<String>)> {
    for (depth, key) in path.iter().enumerate() {
        value = match value {
            Value::Object(mut mapping) => match mapping.remove(key) {
                Some(inner) => inner,
                None => return Err((depth, mapping.into_iter().map(|(key, _)| key).collect())),
            },
            Value::Array(mut items) => match key.parse::<usize>() {
                Ok(index) if index < items.len() => items.swap_remove(index),
                _ => return Err((depth, Vec::new())),
            },
            _ => return Err((depth, Vec::new())),
        };
    }
    Ok(value)
}

/// States that an imported variable which is missing may come from the source at `source`.
fn explained(found: LookedUp, source: Position) -> LookedUp {
    let LookedUp::Missing(fault) = found else { return found };
    let line = source.line;
    let hint = format!(
        "the source of `importVariables` on line {line} of the project file was passed over and may have it: write it into a file, and import that"
    );
    LookedUp::Missing(fault.hint(hint))
}

/// What to do about a variable that nothing sets.
const OUTSIDE: &str = "set it in `variables`, or from outside, as a variable of the project";

/// States that `path` stands for nothing, and which of `keys` its last part may have meant.
pub(crate) fn missing(path: &[String], keys: &[String]) -> LookedUp {
    let last = path.last().map(String::as_str).unwrap_or_default();
    // What is there and cannot be seen is not what was meant.
    let keys: Vec<&str> = keys.iter().map(String::as_str).filter(|key| *key != last).collect();
    let hint = match path {
        [local, env, name] if local == "local" && env == "env" => {
            Some(format!("set the environment variable, or give a default: `${{local.env.{name} || \"…\"}}`"))
        }
        [var, ..] if var == "var" => Some(
            suggest::closest(last, &keys)
                .map_or_else(|| OUTSIDE.to_owned(), |name| format!("did you mean `{name}`?")),
        ),
        _ => suggest::help(last, &keys),
    };
    LookedUp::Missing(Fault { hint, ..Fault::new(format!("`{}` is not set", path.join("."))) })
}
