//! From instructions to stages: what of them decides which files are read, as `BuildKit` takes it
//! (`frontend/dockerfile/instructions` of v0.26).

use std::collections::{BTreeMap, BTreeSet};

use super::heredoc::is_heredoc;
use super::lines::{Flag, Instruction, Script, split_at_spaces};
use super::uses::{self, Feature, Use};
use super::{Doubt, Doubts};

/// A Dockerfile, as far as it decides which files are read.
#[derive(Debug)]
pub(super) struct Outline {
    /// The `ARG`s before the first `FROM`.
    pub(super) arguments: Vec<Argument>,
    pub(super) stages: Vec<Stage>,
    /// The first stage of each name, which is in lower case.
    names: BTreeMap<String, usize>,
    pub(super) escape: char,
    /// What `# syntax` says.
    pub(super) syntax: Option<String>,
    /// Why it may mean something else.
    pub(super) doubts: Doubts,
    /// What the lines before the first `FROM` use that not every builder knows.
    pub(super) uses: Vec<Use>,
}

/// What is between one `FROM` and the next.
#[derive(Debug)]
pub(super) struct Stage {
    /// What stands behind `FROM`, with variables.
    pub(super) base: String,
    /// In lower case.
    pub(super) name: Option<String>,
    pub(super) commands: Vec<Command>,
    /// What it uses that not every builder knows.
    pub(super) uses: Vec<Use>,
}

/// An instruction. Words are as they are written, with variables.
#[derive(Debug)]
pub(super) enum Command {
    Env(Vec<(String, String)>),
    Arg(Vec<Argument>),
    Copy {
        from: Option<String>,
        /// Without what is written in the Dockerfile itself or, with `ADD`, fetched by HTTP.
        sources: Vec<String>,
        /// Whether it is `ADD`, which also takes URLs.
        is_add: bool,
        /// Whether sources are matched as patterns of ignore files are (`--parents`).
        has_parents: bool,
    },
    Mount(Mount),
    OnBuild,
}

/// `NAME`, or `NAME=default`.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) default: Option<String>,
}

/// A `--mount` of `RUN`.
#[derive(Debug, Default)]
pub(super) struct Mount {
    /// `None` if it is `bind`.
    pub(super) kind: Option<String>,
    pub(super) from: Option<String>,
    /// Empty for everything.
    pub(super) source: String,
}

impl Outline {
    /// Reads all that can be read, and notes what is doubtful.
    pub(super) fn parse(text: &[u8]) -> Self {
        let Script { instructions, escape, syntax, doubts } = Script::parse(text);
        let (arguments, stages, names, uses) = (Vec::new(), Vec::new(), BTreeMap::new(), Vec::new());
        let mut outline = Self { arguments, stages, names, escape, syntax, doubts, uses };
        for instruction in &instructions {
            let read = outline.add(instruction);
            outline.doubts.note(read);
        }
        outline.forget_defaults();
        for (index, stage) in outline.stages.iter().enumerate() {
            let Some(name) = &stage.name else { continue };
            let first = *outline.names.entry(name.clone()).or_insert(index);
            if name == "scratch" || first != index {
                outline.doubts.add(format!("more than one thing is called `{name}`"));
            }
        }
        outline
    }

    /// The stage called `name`, in whatever case.
    pub(super) fn stage_called(&self, name: &str) -> Option<usize> {
        self.names.get(&name.to_ascii_lowercase()).copied()
    }

    /// A variable that has a default before the first `FROM` has it in each `FROM`, and in each stage that declares it without one.
    fn forget_defaults(&mut self) {
        let arguments = self.arguments.iter().filter(|argument| argument.default.is_some());
        let defaults: BTreeSet<&str> = arguments.map(|argument| argument.name.as_str()).collect();
        for stage in &mut self.stages {
            stage.uses.retain(|used| match &used.feature {
                Feature::PlatformVariable(name) => !defaults.contains(name.as_str()),
                _ => true,
            });
        }
    }

    fn add(&mut self, instruction: &Instruction) -> Result<(), Doubt> {
        let is_from = instruction.keyword == "from";
        if is_from {
            self.stages.push(stage(instruction)?);
        }
        match self.stages.last_mut() {
            Some(stage) => {
                stage.uses.extend(uses::of(instruction, self.escape));
                if !is_from {
                    stage.commands.extend(commands(instruction, self.escape)?);
                }
            }
            None if instruction.keyword == "arg" => {
                self.uses.extend(uses::of(instruction, self.escape));
                self.arguments.extend(arguments(instruction, self.escape)?);
            }
            None => return Err(Doubt::of("it does not begin with `FROM`")),
        }
        Ok(())
    }
}

fn stage(instruction: &Instruction) -> Result<Stage, Doubt> {
    check_flags(instruction, &["platform"])?;
    let arguments = split_at_spaces(&instruction.rest, usize::MAX);
    let (base, name) = match arguments.as_slice() {
        [base] => (*base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (*base, Some(name.to_lowercase())),
        _ => return Err(Doubt::of("a `FROM` in it is malformed")),
    };
    let is_valid = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
    };
    if base.is_empty() || !name.as_ref().is_none_or(is_valid) {
        return Err(Doubt::of("a `FROM` in it is malformed"));
    }
    Ok(Stage { base: base.to_owned(), name, commands: Vec::new(), uses: Vec::new() })
}

fn commands(instruction: &Instruction, escape: char) -> Result<Vec<Command>, Doubt> {
    match instruction.keyword.as_str() {
        "env" => Ok(vec![Command::Env(variables(instruction, escape)?)]),
        "arg" => Ok(vec![Command::Arg(arguments(instruction, escape)?)]),
        "onbuild" => Ok(vec![Command::OnBuild]),
        "run" => mounts(instruction),
        "copy" => {
            let known = ["chown", "from", "chmod", "link", "exclude", "parents"];
            Ok(vec![copy(instruction, check_flags(instruction, &known)?)?])
        }
        "add" => {
            let known = ["chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"];
            Ok(vec![copy(instruction, check_flags(instruction, &known)?)?])
        }
        // The rest neither reads files nor sets variables, and may have whatever flags it likes.
        _ => Ok(Vec::new()),
    }
}

/// The flags, one of which might read files if it is not known here.
fn check_flags<'i>(instruction: &'i Instruction, known: &[&str]) -> Result<Vec<Flag<'i>>, Doubt> {
    let flags: Vec<Flag<'_>> = instruction.named_flags().collect();
    match flags.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(Doubt::of(format!("the flag `--{name}` is not known here"))),
        None => Ok(flags),
    }
}

fn copy(instruction: &Instruction, flags: Vec<Flag<'_>>) -> Result<Command, Doubt> {
    let has_parents = flags.iter().any(|(name, value)| *name == "parents" && *value != Some("false"));
    let mut from = flags.into_iter().filter(|(name, _)| *name == "from").map(|(_, value)| value);
    let from = match (from.next(), from.next()) {
        (None, _) | (Some(Some("")), None) => None,
        (Some(Some(from)), None) => Some(plain_source(from)?),
        _ => return Err(Doubt::of("a `--from` in it is malformed")),
    };
    let mut sources = instruction.arguments()?;
    if sources.pop().is_none() || (sources.is_empty()) {
        return Err(Doubt::of("a `COPY` or `ADD` in it has no destination"));
    }
    let mut paths = Vec::new();
    for source in sources {
        if !is_heredoc(&source)? {
            paths.push(source);
        }
    }
    Ok(Command::Copy { from, sources: paths, is_add: instruction.keyword == "add", has_parents })
}

/// Checks that what another stage or image is called by is a plain word, as `BuildKit` demands.
fn plain_source(from: &str) -> Result<String, Doubt> {
    if from.contains(['$', '"', '\'', '\\', '`', '<']) {
        return Err(Doubt::of(format!("`{from}` in it is not a plain name")));
    }
    Ok(from.to_owned())
}

fn mounts(instruction: &Instruction) -> Result<Vec<Command>, Doubt> {
    let flags = check_flags(instruction, &["mount", "network", "security", "device"])?;
    let mounts = flags.into_iter().filter(|(name, _)| *name == "mount");
    mounts.map(|(_, value)| mount(value.unwrap_or_default()).map(Command::Mount)).collect()
}

pub(super) fn mount(text: &str) -> Result<Mount, Doubt> {
    if text.contains('"') {
        return Err(Doubt::of("a `--mount` in it is quoted"));
    }
    let mut mount = Mount::default();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.to_ascii_lowercase().as_str() {
            "type" => mount.kind = Some(value.to_owned()),
            "from" => mount.from = if value.is_empty() { None } else { Some(plain_source(value)?) },
            "source" | "src" => value.clone_into(&mut mount.source),
            "target" | "dst" | "destination" | "readonly" | "ro" | "readwrite" | "rw" | "required"
            | "size" | "id" | "sharing" | "mode" | "uid" | "gid" | "env" => {}
            _ => return Err(Doubt::of(format!("the mount option `{key}` is not known here"))),
        }
    }
    Ok(mount)
}

pub(super) fn arguments(instruction: &Instruction, escape: char) -> Result<Vec<Argument>, Doubt> {
    let words = instruction.words(escape);
    if words.is_empty() {
        return Err(Doubt::of("an `ARG` in it has no name"));
    }
    let argument = |word: String| {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word, None),
        };
        if name.is_empty() {
            return Err(Doubt::of("an `ARG` in it has no name"));
        }
        // BuildKit since 0.14 takes the name as it is written. Others expand it.
        if name.contains(['$', '"', '\'', '\\', '`']) {
            return Err(Doubt::of(format!("`{name}`, the name of an `ARG` in it, is not plain")));
        }
        Ok(Argument { name, default })
    };
    words.into_iter().map(argument).collect()
}

fn variables(instruction: &Instruction, escape: char) -> Result<Vec<(String, String)>, Doubt> {
    let malformed = || Doubt::of("an `ENV` in it is malformed");
    let words = instruction.words(escape);
    let first = words.first().ok_or_else(malformed)?;
    if !first.contains('=') {
        return match split_at_spaces(&instruction.rest, 2).as_slice() {
            [name, value] => Ok(vec![((*name).to_owned(), (*value).to_owned())]),
            _ => Err(malformed()),
        };
    }
    let variable = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(malformed()),
    };
    words.iter().map(variable).collect()
}
