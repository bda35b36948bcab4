//! What of a Dockerfile the executor does not know. It builds on without a word, or with one in the middle of its log: the step
//! does nothing, the flag changes nothing. So it is said before a build begins, by the executor's version.
//!
//! Sources: kaniko v1.24.0 and the fork's v1.28.3, `pkg/commands/run.go`, `copy.go` and `add.go`, `pkg/dockerfile/buildargs.go`,
//! and the fork's `CHANGELOG.md`.

use std::collections::BTreeMap;

use garden_build_core::context::{Context, EntryKind, Extent, Feature, Use};
use garden_build_core::{BuildRequest, Caveat, Error, ErrorKind, Result, WarningCode, WarningData};
use garden_config::KanikoOptions;

use crate::executor::Version;
use crate::flags;

/// Since when `RUN` and `COPY` know texts in the Dockerfile.
const TEXTS: Version = Version(1, 25, 4);
/// Since when a layer in the cache belongs to the texts that it was made of, and not only to the instructions before them.
const TEXT_KEYS: Version = Version(1, 28, 1);
/// Since when something of the context can be mounted, without a switch.
const BIND_MOUNTS: Version = Version(1, 28, 0);
/// Since when directories that outlive a step can be mounted, without a switch.
const CACHE_MOUNTS: Version = Version(1, 26, 0);
/// Since when the executor itself knows variables of platforms.
const PLATFORM_VARIABLES: Version = Version(1, 25, 3);

/// What gives a text to an executor that knows texts, as it stands.
const AS_INPUT: &str = "with kaniko from v1.25.4 on, write the text as the input of what runs it, with a quoted mark (`RUN sh <<\"EOF\"`), or copy a script";

/// Something that the executor does not do, or did not always.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lack {
    /// What stands in the Dockerfile, as it stands in a sentence.
    what: String,
    /// What the executor makes of it.
    made: &'static str,
    /// Since when it does what is meant, if it ever does.
    since: Option<Version>,
    /// Whether the image is another one for certain. Else it may be the same.
    is_certain: bool,
    /// What else helps than another executor.
    otherwise: Option<&'static str>,
}

impl Lack {
    fn or(self, otherwise: &'static str) -> Self {
        Self { otherwise: Some(otherwise), ..self }
    }
}

/// Judges what a build of `request` from `context` uses, with the executor of `options`.
///
/// # Errors
/// For the first thing that the executor would pass over and build another image.
pub(crate) fn judge(
    options: &KanikoOptions,
    request: &BuildRequest,
    context: &Context,
) -> Result<Vec<Caveat>> {
    let lists = [flags::parse(&request.extra_flags)?, flags::parse(&options.extra_flags)?];
    let is_cached = !request.no_cache && flags::caches(&lists);
    let dockerfile = context.dockerfile();
    let supplied = dockerfile.platform_variables(request);
    let mut caveats = Vec::new();
    for Use { feature, line, .. } in dockerfile.uses(request) {
        let place = format!("{}, line {line}", dockerfile.path());
        let data = WarningData::Dockerfile { line: u32::try_from(line).ok(), url: None };
        for lack in lacks(&feature, request, &supplied, is_cached) {
            let caveat = of_lack(lack, &options.image, &place)?;
            caveats.extend(caveat.map(|caveat| caveat.with_data(data.clone())));
        }
    }
    caveats.extend(links(context));
    Ok(caveats)
}

fn of_lack(lack: Lack, image: &str, place: &str) -> Result<Option<Caveat>> {
    let Lack { what, made, since, is_certain, otherwise } = lack;
    let version = Version::of_image(image);
    let buildkit = "a build mode with BuildKit does it";
    let other =
        otherwise.map_or_else(|| buildkit.to_owned(), |otherwise| format!("{otherwise}; or {buildkit}"));
    let newer = since.map(|since| {
        let default = KanikoOptions::DEFAULT_IMAGE;
        format!("set `kaniko.image` to an executor from {since} on, such as {default}; or {other}")
    });
    match (since, version) {
        (Some(since), Some(version)) if version >= since => Ok(None),
        (Some(since), None) => {
            // It may well be new enough.
            let message = format!("{place}: before {since}, kaniko does not know {what}: {made}");
            let newer = newer.unwrap_or_default();
            Ok(Some(Caveat::new(
                WarningCode::UnknownToBuilder,
                message,
                format!("the version of {image} is not known; {newer}"),
            )))
        }
        (_, version) => {
            let named = version.filter(|_| since.is_some()).map(|version| format!(" {version}"));
            let named = named.unwrap_or_default();
            let message = format!("{place}: kaniko{named} does not know {what}: {made}");
            let hint = newer.unwrap_or(other);
            if is_certain {
                return Err(Error::new(ErrorKind::Unsupported, message).with_hint(hint));
            }
            Ok(Some(Caveat::new(WarningCode::UnknownToBuilder, message, hint)))
        }
    }
}

/// What the executor does not do of `feature`, or did not always. It is given the variables that are `supplied`.
fn lacks(
    feature: &Feature,
    request: &BuildRequest,
    supplied: &BTreeMap<String, String>,
    is_cached: bool,
) -> Vec<Lack> {
    match feature {
        Feature::RunText { .. } => of_run_text(feature, is_cached),
        Feature::CopyText { has_variables, .. } => {
            let text = of_text("`COPY <<EOF`", "no file is made of the text", is_cached);
            let variables = has_variables.then(|| {
                maybe(None, "variables in the text of `COPY <<EOF`", "they stay as they are written")
            });
            text.into_iter().chain(variables).collect()
        }
        Feature::Mount { kind, from, .. } => of_mount(kind, from.as_deref()).into_iter().collect(),
        Feature::Repository(source) => vec![never(
            format!("repositories, as in `ADD {source}`"),
            "it takes the name for that of a file, or fetches the page at this address",
        )],
        Feature::PlatformVariable(name) => {
            let is_given = request.build_args.contains_key(name) || supplied.contains_key(name);
            let made = if name.starts_with("TARGET") && request.platforms.is_empty() {
                "it is empty, unless the request names `platforms` or has it as a build argument"
            } else {
                "it is empty, unless the request has it as a build argument"
            };
            let lack = (!is_given).then(|| maybe(Some(PLATFORM_VARIABLES), format!("`{name}`"), made));
            lack.into_iter().collect()
        }
        Feature::Flag { instruction, name, value, .. } => {
            of_flag(instruction, name, value.as_deref().unwrap_or_default(), request).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A text in the Dockerfile of an instruction such as `what`.
fn of_text(what: &str, made: &'static str, is_cached: bool) -> Vec<Lack> {
    let cached = is_cached.then(|| {
        let changes = format!("changes in the text of {what} with its cache");
        let made = "a text that has changed may get what was made of the one before";
        from(TEXT_KEYS, changes, made).or("switch the cache off, with `--cache=false` in `extraFlags`")
    });
    [from(TEXTS, what, made)].into_iter().chain(cached).collect()
}

/// The executor gives the text to `sh`, by way of another shell.
fn of_run_text(feature: &Feature, is_cached: bool) -> Vec<Lack> {
    let Feature::RunText { is_script, is_plain, has_expansions, interpreter, .. } = feature else {
        return Vec::new();
    };
    if *is_script && !*is_plain {
        let what = "a text as `RUN` whose mark has quotes or a dash (`RUN <<\"EOF\"`)";
        return vec![never(what, "the step does nothing").or(AS_INPUT)];
    }
    let interpreter = interpreter.as_deref();
    let named = format!("`RUN <<EOF` of a text that begins with `#!{}`", interpreter.unwrap_or_default());
    let shell = interpreter.map_or(Some("sh"), shell_of);
    if shell.is_none() {
        return vec![never(named, "`sh` runs it").or(AS_INPUT)];
    }
    if *has_expansions {
        let what = "`$`, a backtick or a backslash in the text of `RUN <<EOF`";
        return vec![never(what, "they are expanded before the text is run").or(AS_INPUT)];
    }
    let mut lacks = of_text("`RUN <<EOF`", "the step gets no text, and may do nothing", is_cached);
    if shell == Some("bash") {
        lacks.push(maybe(None, named, "`sh` runs it").or(AS_INPUT));
    }
    lacks
}

/// The shell that `interpreter` is, if `sh` runs what it would: the same language, and no options.
fn shell_of(interpreter: &str) -> Option<&str> {
    let mut names =
        interpreter.split_whitespace().map(|path| path.rsplit_once('/').map_or(path, |(_, name)| name));
    let ((Some(shell), None, None) | (Some("env"), Some(shell), None)) =
        (names.next(), names.next(), names.next())
    else {
        return None;
    };
    ["sh", "ash", "dash", "bash"].contains(&shell).then_some(shell)
}

fn of_mount(kind: &str, stage: Option<&str>) -> Option<Lack> {
    const STAYS: &str = "what the step writes there becomes part of the image";
    let what = format!("`RUN --mount=type={kind}`");
    match (kind, stage) {
        ("bind", None) => Some(from(BIND_MOUNTS, what, "nothing is mounted")),
        ("bind", Some(stage)) => {
            Some(never(format!("`RUN --mount=type=bind,from={stage}`"), "nothing is mounted"))
        }
        ("cache", _) => Some(maybe(Some(CACHE_MOUNTS), what, STAYS)),
        ("tmpfs", _) => Some(maybe(None, what, STAYS)),
        // Those that the request has are refused before, and those that it has not are not there with BuildKit either.
        _ => None,
    }
}

fn of_flag(instruction: &str, name: &str, value: &str, request: &BuildRequest) -> Option<Lack> {
    let what = format!("`{instruction} --{name}`");
    match (instruction, name) {
        ("COPY", "parents") => Some(never(what, "files lose the directories that they are in")),
        ("COPY" | "ADD", "exclude") => Some(never(what, "what is excluded is copied")),
        ("ADD", "unpack") => {
            Some(never(what, "it unpacks archives of the context, and nothing that it fetches"))
        }
        ("ADD", "checksum") => Some(maybe(None, what, "what is fetched is not verified")),
        ("RUN", "network" | "security" | "device") => {
            Some(maybe(None, what, "the step runs as all the others do"))
        }
        ("FROM", "platform") => {
            let is_another = request.platforms.first().is_some_and(|platform| platform != value);
            let what = format!("`FROM --platform={value}`");
            (is_another && !value.contains('$'))
                .then(|| maybe(None, what, "all stages are built for the platform of the request"))
        }
        _ => None,
    }
}

fn never(what: impl Into<String>, made: &'static str) -> Lack {
    Lack { what: what.into(), made, since: None, is_certain: true, otherwise: None }
}

fn from(since: Version, what: impl Into<String>, made: &'static str) -> Lack {
    Lack { since: Some(since), ..never(what, made) }
}

fn maybe(since: Option<Version>, what: impl Into<String>, made: &'static str) -> Lack {
    Lack { since, is_certain: false, ..never(what, made) }
}

/// Links that are sources of `COPY` themselves, as far as the Dockerfile is certain to read them.
fn links(context: &Context) -> Vec<Caveat> {
    let Extent::Read { sources, .. } = context.extent() else { return Vec::new() };
    let is_link = |source: &&String| {
        let entry = context.manifest().find(source);
        entry.is_some_and(|entry| matches!(entry.kind, EntryKind::Symlink { .. }))
    };
    let caveat = |source: &String| {
        Caveat::new(
            WarningCode::LinkCopied,
            format!("`{source}` is a symbolic link: kaniko copies the link, and not what it leads to"),
            "name what it leads to in the Dockerfile",
        )
        .with_data(WarningData::File { context: None, path: source.clone() })
    };
    sources.iter().filter(is_link).map(caveat).collect()
}

#[cfg(test)]
mod tests;
