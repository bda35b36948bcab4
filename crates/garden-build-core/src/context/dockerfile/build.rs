//! What the stages of a Dockerfile begin with and which of them are built, with the arguments of one request and for one
//! platform, as `BuildKit` finds out (`frontend/dockerfile/dockerfile2llb` of v0.26).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::lex::{Failure, Value, expand};
use super::platform::{PREDEFINED, Platform};
use super::stages::{Argument, Command, Mount, Outline, Stage};
use super::{Doubt, Doubts, StagesBuilt};
use crate::BuildRequest;

/// How many bytes all values of one build may have, each copy of them counted: a stage that begins with another has copies of all
/// its variables. Nobody's Dockerfile has a hundredth of it.
const MAX_VALUES: usize = 16 * 1024 * 1024;

/// A variable's value; `None` if only the builder knows it.
pub(super) type Known = Option<String>;

/// What a stage begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Base {
    Stage(usize),
    Nothing,
    Image(String),
    Unknown(Doubt),
}

/// One build of a Dockerfile.
pub(super) struct Build<'d> {
    pub(super) dockerfile: &'d Outline,
    pub(super) request: &'d BuildRequest,
    pub(super) built: StagesBuilt,
    /// Arguments from before the first `FROM`, and those that are always there.
    pub(super) global: BTreeMap<String, Known>,
    /// One for each stage.
    pub(super) bases: Vec<Base>,
    /// Why the arguments may be others.
    pub(super) doubts: Doubts,
    /// What is always there is there as well if the Dockerfile declares it before the first `FROM`.
    keeps_predefined: bool,
    /// How many bytes of values there may still be.
    left: Cell<usize>,
}

impl<'d> Build<'d> {
    /// Finds out what can be found out, and notes what is doubtful. Where versions of builders differ, nothing is known.
    pub(super) fn new(
        dockerfile: &'d Outline,
        request: &'d BuildRequest,
        built: StagesBuilt,
        platform: Option<&str>,
    ) -> Self {
        Self::of(dockerfile, request, built, platform, false)
    }

    /// Creates the build of `request` as the builders of today understand it; see [`new`](Self::new).
    pub(super) fn likely(dockerfile: &'d Outline, request: &'d BuildRequest, platform: Option<&str>) -> Self {
        Self::of(dockerfile, request, StagesBuilt::Needed, platform, true)
    }

    fn of(
        dockerfile: &'d Outline,
        request: &'d BuildRequest,
        built: StagesBuilt,
        platform: Option<&str>,
        keeps_predefined: bool,
    ) -> Self {
        let mut new = Self {
            dockerfile,
            request,
            built,
            global: BTreeMap::new(),
            bases: Vec::new(),
            doubts: Doubts::default(),
            keeps_predefined,
            left: Cell::new(MAX_VALUES),
        };
        new.predefine(platform);
        for argument in &dockerfile.arguments {
            let value = new.first_value(argument);
            if let Some(value) = new.doubts.note(value).flatten() {
                new.global.insert(argument.name.clone(), value);
            }
        }
        for stage in &dockerfile.stages {
            let base = new.base(stage);
            new.bases.push(base);
        }
        new
    }

    /// Sets the arguments that nobody has to declare.
    fn predefine(&mut self, platform: Option<&str>) {
        let platform = platform.and_then(Platform::parse);
        for name in PREDEFINED {
            let value = match self.given(name) {
                Some(given) => given,
                None if self.built == StagesBuilt::Needed => {
                    platform.as_ref().and_then(|platform| platform.variable(name))
                }
                None => None,
            };
            self.global.insert(name.to_owned(), value);
        }
    }

    /// The value that the request gives to the argument `name`.
    pub(super) fn given(&self, name: &str) -> Option<Known> {
        let value = self.request.build_args.get(name)?;
        // To some builders, an argument without a value was not given.
        let is_certain = self.built == StagesBuilt::Needed || !value.is_empty();
        Some(is_certain.then(|| value.clone()))
    }

    /// The value of an argument from before the first `FROM`; `None` if it has none of its own.
    fn first_value(&self, argument: &Argument) -> Result<Option<Known>, Doubt> {
        let value = match (self.given(&argument.name), &argument.default) {
            (Some(given), _) => given,
            // Before BuildKit 0.17, the value that is always there is hidden by it.
            (None, None) if !self.keeps_predefined && PREDEFINED.contains(&argument.name.as_str()) => None,
            (None, None) => return Ok(None),
            (None, Some(default)) if self.built == StagesBuilt::ThroughTarget => match read_alike(default) {
                Some(default) => self.expand(default, &|name| self.global_value(name))?,
                None => None,
            },
            (None, Some(default)) => self.expand(default, &|name| self.global_value(name))?,
        };
        Ok(Some(value))
    }

    /// What a variable is before the first `FROM`, and in `FROM`.
    fn global_value(&self, name: &str) -> Value<'_> {
        // kaniko also knows arguments of the request that nobody has declared.
        let is_undeclared =
            self.built == StagesBuilt::ThroughTarget && self.request.build_args.contains_key(name);
        value_of(self.global.get(name), if is_undeclared { Value::Unknown } else { Value::Unset })
    }

    /// Replaces the variables of `word`; `None` if one of them is not known.
    pub(super) fn expand<'v>(&self, word: &str, lookup: &dyn Fn(&str) -> Value<'v>) -> Result<Known, Doubt> {
        let escape = self.dockerfile.escape;
        // kaniko has words escaped by a backslash whatever `# escape` says.
        if self.built == StagesBuilt::ThroughTarget && escape != '\\' && word.contains(['\\', escape]) {
            return Ok(None);
        }
        match expand(word, escape, lookup) {
            Ok(word) => {
                self.spend(word.len())?;
                Ok(Some(word))
            }
            Err(Failure::Unknown) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Counts `bytes` of values that are kept.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), Doubt> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or_else(|| Doubt::of("the values in it are too long together"))?);
        Ok(())
    }

    /// What `stage`, which follows those whose base is known, begins with.
    fn base(&self, stage: &Stage) -> Base {
        let name = match self.expand(&stage.base, &|name| self.global_value(name)) {
            Ok(Some(name)) if !name.is_empty() => name,
            Ok(_) => {
                return Base::Unknown(Doubt::of(format!("what `{}` stands for is not known", stage.base)));
            }
            Err(doubt) => return Base::Unknown(doubt),
        };
        let earlier = self.bases.len();
        match self.dockerfile.stage_called(&name).filter(|index| *index < earlier) {
            Some(index) => Base::Stage(index),
            None if name == "scratch" => Base::Nothing,
            None => Base::Image(name),
        }
    }

    /// The stages that are built.
    pub(super) fn needed(&self) -> Result<BTreeSet<usize>, Doubt> {
        let stages = &self.dockerfile.stages;
        let target = match self.request.target.as_deref() {
            None | Some("") => stages.len().checked_sub(1),
            Some(target) => self.dockerfile.stage_called(target),
        };
        let target = target.ok_or_else(|| Doubt::of("the target is not a stage of it"))?;
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
                    Command::Mount(Mount { from: Some(from), .. }) => {
                        open.extend(self.dockerfile.stage_called(from));
                    }
                    _ => {}
                }
            }
        }
        Ok(needed)
    }

    /// The stage that `COPY --from` means: by number, or by name unless that is an image's.
    pub(super) fn copied_stage(&self, from: &str) -> Result<Option<usize>, Doubt> {
        match from.parse::<i64>() {
            Ok(number) => usize::try_from(number)
                .ok()
                .filter(|index| *index < self.dockerfile.stages.len())
                .map(Some)
                .ok_or_else(|| Doubt::of(format!("it has no stage {number}"))),
            Err(_) => Ok(self.dockerfile.stage_called(from)),
        }
    }
}

pub(super) fn value_of<'v>(known: Option<&'v Known>, otherwise: Value<'v>) -> Value<'v> {
    match known {
        Some(Some(value)) => Value::Set(value),
        Some(None) => Value::Unknown,
        None => otherwise,
    }
}

/// The default of an argument from before the first `FROM` without its quotes, if all builders make the same of it.
///
/// kaniko takes one pair of quotes away, whichever, and then replaces variables; the others do both at once. Source: kaniko,
/// `pkg/dockerfile/dockerfile.go`, `stripEnclosingQuotes` and `expandNestedArgs`.
fn read_alike(default: &str) -> Option<&str> {
    let unquoted = |quote: char| default.strip_prefix(quote).and_then(|inner| inner.strip_suffix(quote));
    let inner = match (unquoted('"'), unquoted('\'')) {
        (Some(inner), _) => inner,
        // A variable in single quotes is replaced by kaniko alone.
        (None, Some(inner)) if !inner.contains('$') => inner,
        (None, Some(_)) => return None,
        (None, None) => default,
    };
    (!inner.contains(['\\', '`', '\'', '"'])).then_some(inner)
}
