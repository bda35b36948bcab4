//! Which paths of the build context the stages of a Dockerfile read, as `BuildKit` finds out
//! (`frontend/dockerfile/dockerfile2llb` of v0.26).
//!
//! Other builders read the same instructions, but differ in ways for which [`StagesBuilt`] stands: they may build
//! more stages, prefer the environment of the base image to an `ARG` of the same name, and find what lies above the
//! context directory.
//!
//! Why: docs/decisions/16-what-the-dockerfile-reads-makes-the-version.md

use std::collections::{BTreeMap, BTreeSet};

use super::build::{Base, Build, Known, value_of};
use super::lex::Value;
use super::stages::{Argument, Command, Mount, Outline};
use super::{Doubt, StagesBuilt};
use crate::BuildRequest;
use crate::context::go_path;

/// What a build reads of its context.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::context) struct Reads {
    /// Paths and patterns as the instructions give them, relative to the context; `.` for all of it.
    pub(in crate::context) sources: BTreeSet<String>,
    /// The images that stages begin with, as they are written. Each may have `ONBUILD` triggers, which
    /// read files as well.
    pub(in crate::context) bases: BTreeSet<String>,
}

/// Finds out what building `request` with the Dockerfile `text` reads.
pub(in crate::context) fn reads(
    text: &[u8],
    request: &BuildRequest,
    built: StagesBuilt,
) -> Result<Reads, Doubt> {
    if request.build_args.contains_key("BUILDKIT_SYNTAX") {
        return Err(Doubt::of("the frontend of `BUILDKIT_SYNTAX` may read it in another way"));
    }
    let dockerfile = Outline::parse(text);
    dockerfile.doubts.check()?;
    // Who has several platforms built has each read its own files.
    let platforms: Vec<Option<&str>> = if request.platforms.is_empty() {
        vec![None]
    } else {
        request.platforms.iter().map(|platform| Some(platform.as_str())).collect()
    };
    let mut reads = Reads::default();
    for platform in platforms {
        let one = Build::new(&dockerfile, request, built, platform);
        one.doubts.check()?;
        one.run(&mut reads)?;
    }
    Ok(reads)
}

/// The variables at one point of a stage.
#[derive(Clone, Debug, Default)]
struct Variables {
    values: BTreeMap<String, Variable>,
    /// There may be others, from an image.
    has_others: bool,
}

#[derive(Clone, Debug)]
struct Variable {
    value: Known,
    is_argument: bool,
}

impl Variable {
    /// How many bytes a copy takes, with its `name` and its place in a map.
    fn size(&self, name: &str) -> usize {
        const PLACE: usize = 64;
        PLACE + name.len() + self.value.as_ref().map_or(0, String::len)
    }
}

impl Build<'_> {
    fn run(&self, reads: &mut Reads) -> Result<(), Doubt> {
        let mut ends: Vec<Variables> = Vec::new();
        let needed = self.needed()?;
        for (index, stage) in self.dockerfile.stages.iter().enumerate() {
            let mut variables = Variables::default();
            if needed.contains(&index) {
                variables = self.begin(index, &ends, reads)?;
                // To some versions of BuildKit, a stage is still one if a named context has its name.
                for command in &stage.commands {
                    self.command(command, &mut variables, reads)?;
                }
            }
            ends.push(variables);
        }
        Ok(())
    }

    /// The variables that the stage at `index` begins with.
    fn begin(&self, index: usize, ends: &[Variables], reads: &mut Reads) -> Result<Variables, Doubt> {
        match &self.bases[index] {
            Base::Unknown(doubt) => Err(doubt.clone()),
            Base::Nothing => Ok(Variables::default()),
            Base::Image(image) => {
                // The images that bear triggers by profession say so in their tag.
                if image.to_ascii_lowercase().contains("onbuild") {
                    return Err(Doubt::of(format!("`{image}` has triggers, which may read anything")));
                }
                reads.bases.insert(image.clone());
                Ok(Variables { has_others: true, ..Variables::default() })
            }
            Base::Stage(base) => {
                let triggers = self.dockerfile.stages[*base].commands.iter();
                if triggers.into_iter().any(|command| matches!(command, Command::OnBuild)) {
                    return Err(Doubt::of("a stage of it has triggers for another"));
                }
                let Some(end) = ends.get(*base) else { return Ok(Variables::default()) };
                self.spend(end.values.iter().map(|(name, variable)| variable.size(name)).sum())?;
                let mut variables = end.clone();
                if self.built == StagesBuilt::ThroughTarget {
                    variables.values.retain(|_, variable| !variable.is_argument);
                }
                Ok(variables)
            }
        }
    }

    fn command(&self, command: &Command, variables: &mut Variables, reads: &mut Reads) -> Result<(), Doubt> {
        match command {
            Command::Env(pairs) => self.set_environment(pairs, variables),
            Command::Arg(arguments) => {
                arguments.iter().try_for_each(|argument| self.declare(argument, variables))
            }
            Command::Copy { from: None, sources, is_add, has_parents } => {
                // Whatever its variables are, the context is not read.
                let is_remote = |source: &str| {
                    *is_add && (source.starts_with("http://") || source.starts_with("https://"))
                };
                for source in sources.iter().filter(|source| !is_remote(source)) {
                    let source = self.certain(source, variables)?;
                    if !is_remote(&source) {
                        self.copied(&source, *has_parents, reads)?;
                    }
                }
                Ok(())
            }
            Command::Mount(mount) => {
                if let Some(source) = self.mounted(mount, variables)? {
                    reads.sources.insert(relative(&source));
                }
                Ok(())
            }
            Command::Copy { from: Some(_), .. } | Command::OnBuild => Ok(()),
        }
    }

    /// Adds a source of `COPY` or `ADD`.
    fn copied(&self, source: &str, has_parents: bool, reads: &mut Reads) -> Result<(), Doubt> {
        if has_parents && is_matched_otherwise(source) {
            return Err(Doubt::of(format!("what `{source}` matches with `--parents` is not known here")));
        }
        if self.built == StagesBuilt::ThroughTarget {
            let clean = go_path::clean(source);
            // The directory above is the same one to BuildKit, but others know it by its name.
            if clean.starts_with("..") {
                return Err(Doubt::of(format!("`{source}` leads out of the context")));
            }
            // kaniko matches the context directory itself as well (`pkg/util/command_util.go`, `matchSources`).
            if clean != "." && go_path::matches(&clean, ".") == Ok(true) && clean != "*" {
                reads.sources.insert(".".to_owned());
            }
        }
        reads.sources.insert(relative(source));
        Ok(())
    }

    /// All values of one instruction are made of the variables before it.
    fn set_environment(&self, pairs: &[(String, String)], variables: &mut Variables) -> Result<(), Doubt> {
        let mut set = Vec::new();
        for (name, value) in pairs {
            let name = self.certain(name, variables)?;
            set.push((name, self.expand(value, &|name| self.value(name, variables))?));
        }
        for (name, value) in set {
            variables.values.insert(name, Variable { value, is_argument: false });
        }
        Ok(())
    }

    fn declare(&self, argument: &Argument, variables: &mut Variables) -> Result<(), Doubt> {
        let name = &argument.name;
        let value = match (self.given(name), &argument.default, self.global.get(name)) {
            (Some(given), _, _) => given,
            (None, Some(default), _) => self.expand(default, &|name| self.value(name, variables))?,
            (None, None, Some(global)) => global.clone(),
            (None, None, None) => return Ok(()),
        };
        // To other builders, variables of the image or of `ENV` are stronger. And these are not variables.
        let may_be_another = self.built == StagesBuilt::ThroughTarget
            && (variables.has_others || variables.values.contains_key(name));
        let is_none = name.starts_with("BUILDKIT_SBOM_");
        let value = value.filter(|_| !may_be_another && !is_none);
        let variable = Variable { value, is_argument: true };
        self.spend(variable.size(name))?;
        variables.values.insert(name.clone(), variable);
        Ok(())
    }

    fn value<'v>(&self, name: &str, variables: &'v Variables) -> Value<'v> {
        // BuildKit sets `PATH` unless the image does, and others know more variables.
        let is_unset = self.built == StagesBuilt::Needed && !variables.has_others && name != "PATH";
        let value = variables.values.get(name).map(|variable| &variable.value);
        value_of(value, if is_unset { Value::Unset } else { Value::Unknown })
    }

    /// Replaces the variables of `word`, all of which have to be known.
    fn certain(&self, word: &str, variables: &Variables) -> Result<String, Doubt> {
        self.expand(word, &|name| self.value(name, variables))?
            .ok_or_else(|| Doubt::of(format!("what `{word}` stands for is known to the builder only")))
    }

    /// Which path of the context is mounted.
    ///
    /// For `tmpfs`, `BuildKit` asks for a source as well, for everything if there is none, but mounts nothing of it.
    fn mounted(&self, mount: &Mount, variables: &Variables) -> Result<Option<String>, Doubt> {
        if mount.from.is_some() {
            return Ok(None);
        }
        let kind =
            mount.kind.as_deref().map_or(Ok("bind".to_owned()), |kind| self.certain(kind, variables))?;
        match kind.to_ascii_lowercase().as_str() {
            "bind" => self.certain(&mount.source, variables).map(Some),
            "cache" | "secret" | "ssh" | "tmpfs" => Ok(None),
            _ => Err(Doubt::of(format!("mounts of the type `{kind}` are not known here"))),
        }
    }
}

/// The path below the context directory that the builder takes `source` for, by text alone; `.` for all.
fn relative(source: &str) -> String {
    let rooted = go_path::clean(&format!("/{source}"));
    match rooted.trim_start_matches('/') {
        "" => ".".to_owned(),
        relative => relative.to_owned(),
    }
}

/// Whether `source` may mean something else to the rules of ignore files, by which `BuildKit` goes with `--parents`: these
/// take spaces away, and know more than `*` and `?`. Source: `moby/patternmatcher`.
fn is_matched_otherwise(source: &str) -> bool {
    let is_pattern = source.contains(['*', '?', '[']);
    source.trim() != source
        || source.starts_with('!')
        || (is_pattern && source.contains(['^', '|', '{', '}', '(', ')', '+', '$', '[', '\\']))
}
