//! Which paths of the build context the stages of a Dockerfile read, as `BuildKit` finds out
//! (`frontend/dockerfile/dockerfile2llb` of v0.26).
//!
//! Other builders read the same instructions, but differ in ways for which [`StagesBuilt`] stands: they may build
//! more stages, prefer the environment of the base image to an `ARG` of the same name, and find what lies above the
//! context directory.

use std::collections::{BTreeMap, BTreeSet};

use super::lex::{Failure, Value, expand};
use super::stages::{Argument, Command, Mount, Outline, Stage};
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
    let dockerfile = Outline::parse(text)?;
    if built == StagesBuilt::ThroughTarget && dockerfile.escape != '\\' {
        return Err(Doubt::of("not every builder heeds `# escape` everywhere"));
    }
    // Who has several platforms built has each read its own files.
    let platforms: Vec<Option<&str>> = if request.platforms.is_empty() {
        vec![None]
    } else {
        request.platforms.iter().map(|platform| Some(platform.as_str())).collect()
    };
    let mut reads = Reads::default();
    for platform in platforms {
        Build::new(&dockerfile, request, built, platform)?.run(&mut reads)?;
    }
    Ok(reads)
}

/// A variable's value; `None` if only the builder knows it.
type Known = Option<String>;

/// What a stage begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Base {
    Stage(usize),
    Nothing,
    Image(String),
    Unknown(Doubt),
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

struct Build<'d> {
    dockerfile: &'d Outline,
    request: &'d BuildRequest,
    built: StagesBuilt,
    /// Arguments from before the first `FROM`, and those that are always there.
    global: BTreeMap<String, Known>,
    bases: Vec<Base>,
}

impl<'d> Build<'d> {
    fn new(
        dockerfile: &'d Outline,
        request: &'d BuildRequest,
        built: StagesBuilt,
        platform: Option<&str>,
    ) -> Result<Self, Doubt> {
        let global = BTreeMap::new();
        let mut new = Self { dockerfile, request, built, global, bases: Vec::new() };
        new.predefine(platform);
        for argument in &dockerfile.arguments {
            new.define(argument)?;
        }
        for stage in &dockerfile.stages {
            let base = new.base(stage);
            new.bases.push(base);
        }
        Ok(new)
    }

    /// Sets the arguments that nobody has to declare.
    fn predefine(&mut self, platform: Option<&str>) {
        let platform = platform.and_then(Platform::parse);
        let platform = platform.as_ref();
        for (name, value) in [
            ("BUILDPLATFORM", None),
            ("BUILDOS", None),
            ("BUILDOSVERSION", None),
            ("BUILDARCH", None),
            ("BUILDVARIANT", None),
            ("TARGETPLATFORM", platform.map(Platform::name)),
            ("TARGETOS", platform.map(|_| "linux".to_owned())),
            ("TARGETOSVERSION", None),
            ("TARGETARCH", platform.map(|platform| platform.architecture.to_owned())),
            ("TARGETVARIANT", platform.map(|platform| platform.variant.to_owned())),
            // Older versions have neither this one nor the system's version.
            ("TARGETSTAGE", None),
        ] {
            let value = match self.given(name) {
                Some(given) => given,
                None if self.built == StagesBuilt::Needed => value,
                None => None,
            };
            self.global.insert(name.to_owned(), value);
        }
    }

    /// The value that the request gives to the argument `name`.
    fn given(&self, name: &str) -> Option<Known> {
        let value = self.request.build_args.get(name)?;
        // To some builders, an argument without a value was not given.
        let is_certain = self.built == StagesBuilt::Needed || !value.is_empty();
        Some(is_certain.then(|| value.clone()))
    }

    /// Defines an argument from before the first `FROM`.
    fn define(&mut self, argument: &Argument) -> Result<(), Doubt> {
        let value = match (self.given(&argument.name), &argument.default) {
            (Some(given), _) => given,
            (None, None) => return Ok(()),
            // Other builders have rules of their own for these arguments.
            (None, Some(default))
                if self.built == StagesBuilt::ThroughTarget
                    && default.contains(['$', '\\', '`', '\'', '"']) =>
            {
                None
            }
            (None, Some(default)) => {
                self.expand(default, &|name| value_of(self.global.get(name), Value::Unset))?
            }
        };
        self.global.insert(argument.name.clone(), value);
        Ok(())
    }

    /// Replaces the variables of `word`; `None` if one of them is not known.
    fn expand<'v>(&self, word: &str, lookup: &dyn Fn(&str) -> Value<'v>) -> Result<Known, Doubt> {
        match expand(word, self.dockerfile.escape, lookup) {
            Ok(word) => Ok(Some(word)),
            Err(Failure::Unknown) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// What `stage`, which follows those whose base is known, begins with.
    fn base(&self, stage: &Stage) -> Base {
        let lookup = |name: &str| value_of(self.global.get(name), Value::Unset);
        let name = match self.expand(&stage.base, &lookup) {
            Ok(Some(name)) if !name.is_empty() => name,
            Ok(_) => {
                return Base::Unknown(Doubt::of(format!("what `{}` stands for is not known", stage.base)));
            }
            Err(doubt) => return Base::Unknown(doubt),
        };
        let earlier = &self.dockerfile.stages[..self.bases.len()];
        let named =
            |stage: &Stage| stage.name.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(&name));
        match earlier.iter().position(named) {
            Some(index) => Base::Stage(index),
            None if name == "scratch" => Base::Nothing,
            None => Base::Image(name),
        }
    }

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

    /// The stages that are built.
    fn needed(&self) -> Result<BTreeSet<usize>, Doubt> {
        let stages = &self.dockerfile.stages;
        let target = match self.request.target.as_deref() {
            None | Some("") => stages.len().checked_sub(1),
            Some(target) => self.stage_called(target),
        };
        let target = target.ok_or_else(|| Doubt::of("the target is no stage of it"))?;
        let mut needed = BTreeSet::new();
        let mut open = match self.built {
            StagesBuilt::Needed => vec![target],
            StagesBuilt::ThroughTarget => (0..=target).collect(),
        };
        while let Some(index) = open.pop() {
            if !needed.insert(index) {
                continue;
            }
            if let Base::Stage(base) = self.bases[index] {
                open.push(base);
            }
            for command in &stages[index].commands {
                match command {
                    Command::Copy { from: Some(from), .. } => open.extend(self.copied_stage(from)?),
                    Command::Mount(Mount { from: Some(from), .. }) => open.extend(self.stage_called(from)),
                    _ => {}
                }
            }
        }
        Ok(needed)
    }

    fn stage_called(&self, name: &str) -> Option<usize> {
        let named = |stage: &Stage| stage.name.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(name));
        self.dockerfile.stages.iter().position(named)
    }

    /// The stage that `COPY --from` means: by number, or by name unless that is an image's.
    fn copied_stage(&self, from: &str) -> Result<Option<usize>, Doubt> {
        match from.parse::<i64>() {
            Ok(number) => usize::try_from(number)
                .ok()
                .filter(|index| *index < self.dockerfile.stages.len())
                .map(Some)
                .ok_or_else(|| Doubt::of(format!("it has no stage {number}"))),
            Err(_) => Ok(self.stage_called(from)),
        }
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
                let mut variables = ends.get(*base).cloned().unwrap_or_default();
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
            Command::Copy { from: None, sources, is_add } => {
                for source in sources {
                    let source = self.certain(source, variables)?;
                    // The directory above is the same one to BuildKit, but others know it by its name.
                    if self.built == StagesBuilt::ThroughTarget && go_path::clean(&source).starts_with("..") {
                        return Err(Doubt::of(format!("`{source}` leads out of the context")));
                    }
                    if !*is_add || !(source.starts_with("http://") || source.starts_with("https://")) {
                        reads.sources.insert(relative(&source));
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
        // To other builders, variables of the image or of `ENV` are stronger. And these are no variables.
        let may_be_another = self.built == StagesBuilt::ThroughTarget
            && (variables.has_others || variables.values.contains_key(name));
        let is_none = name.starts_with("BUILDKIT_SBOM_");
        let value = value.filter(|_| !may_be_another && !is_none);
        variables.values.insert(name.clone(), Variable { value, is_argument: true });
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
    /// `BuildKit` asks for everything even where a mount without a source reads nothing, as with `tmpfs`.
    fn mounted(&self, mount: &Mount, variables: &Variables) -> Result<Option<String>, Doubt> {
        if mount.from.is_some() {
            return Ok(None);
        }
        let kind =
            mount.kind.as_deref().map_or(Ok("bind".to_owned()), |kind| self.certain(kind, variables))?;
        match kind.to_ascii_lowercase().as_str() {
            "bind" | "tmpfs" => self.certain(&mount.source, variables).map(Some),
            "cache" | "secret" | "ssh" => Ok(None),
            _ => Err(Doubt::of(format!("mounts of the type `{kind}` are not known here"))),
        }
    }
}

fn value_of<'v>(known: Option<&'v Known>, otherwise: Value<'v>) -> Value<'v> {
    match known {
        Some(Some(value)) => Value::Set(value),
        Some(None) => Value::Unknown,
        None => otherwise,
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

/// A platform that the variables can be told of. There are others.
struct Platform<'p> {
    architecture: &'p str,
    variant: &'p str,
}

impl<'p> Platform<'p> {
    fn parse(text: &'p str) -> Option<Self> {
        let (architecture, variant) = match text.split('/').collect::<Vec<_>>().as_slice() {
            ["linux", architecture] => (*architecture, ""),
            ["linux", architecture, variant] => (*architecture, *variant),
            _ => return None,
        };
        // Spellings that BuildKit does not change.
        let is_plain = match architecture {
            "amd64" | "arm64" | "386" | "ppc64le" | "s390x" | "riscv64" => variant.is_empty(),
            "arm" => matches!(variant, "v6" | "v7"),
            _ => false,
        };
        is_plain.then_some(Self { architecture, variant })
    }

    fn name(&self) -> String {
        let slash = if self.variant.is_empty() { "" } else { "/" };
        format!("linux/{}{slash}{}", self.architecture, self.variant)
    }
}
