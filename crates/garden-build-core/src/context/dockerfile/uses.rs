//! What a Dockerfile uses that not every builder knows. Some builders pass over what they do not know, without a word; so
//! whoever gives them a Dockerfile has to know what is in it.

use super::heredoc::is_heredoc;
use super::lines::Instruction;
use super::platform::PREDEFINED;
use super::stages;

/// Something in a Dockerfile that not every builder knows, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Use {
    /// What it is.
    pub feature: Feature,
    /// The number of the instruction's first line. The first line of the Dockerfile is 1.
    pub line: usize,
}

/// What not every builder of Dockerfiles knows.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// A flag that is set, other than `--mount`, such as `--parents`. `ADD --unpack` is one where it asks for something else than
    /// what `ADD` does by itself: to leave an archive of the context as it is, or to unpack what is fetched.
    Flag {
        /// The instruction, in upper case.
        instruction: String,
        /// The name, without dashes.
        name: String,
        /// What stands behind `=`.
        value: Option<String>,
    },
    /// `RUN --mount=…`.
    Mount {
        /// The type, in lower case.
        kind: String,
        /// The stage, image or context that is mounted, if it is not the build context.
        from: Option<String>,
    },
    /// `RUN` with a text in the Dockerfile itself, such as `RUN <<EOF`.
    RunText {
        /// The step is nothing else than this text.
        is_script: bool,
        /// The mark stands there without quotes and dashes.
        is_plain: bool,
        /// The text of a script has `$`, a backtick or `\` in it, and its mark has no quotes. A shell that is given it as it stands
        /// expands these before what runs the script sees them.
        has_expansions: bool,
        /// What `#!` at the beginning of a script names.
        interpreter: Option<String>,
    },
    /// `COPY` or `ADD` of a text in the Dockerfile itself.
    CopyText {
        /// Variables in it are to be replaced.
        has_variables: bool,
    },
    /// `ADD` of a git repository.
    Repository(String),
    /// A variable that tells of a platform, such as `TARGETARCH`, and that has no default.
    PlatformVariable(String),
}

/// What `instruction` uses. What is malformed is for the builder to refuse.
pub(super) fn of(instruction: &Instruction, escape: char) -> Vec<Use> {
    let keyword = instruction.keyword.as_str();
    let mut features = Vec::new();
    if matches!(keyword, "from" | "run" | "copy" | "add") {
        features.extend(instruction.named_flags().filter_map(|flag| of_flag(keyword, flag)));
    }
    match keyword {
        "from" => {
            let mentioned = PREDEFINED.iter().filter(|name| mentions(&instruction.rest, name));
            features.extend(mentioned.map(|name| Feature::PlatformVariable((*name).to_owned())));
        }
        "arg" => {
            let arguments = stages::arguments(instruction, escape).unwrap_or_default().into_iter();
            let predefined = arguments.filter(|argument| {
                argument.default.is_none() && PREDEFINED.contains(&argument.name.as_str())
            });
            features.extend(predefined.map(|argument| Feature::PlatformVariable(argument.name)));
        }
        "run" => features.extend(run_text(instruction)),
        "copy" | "add" => {
            let texts = instruction.heredocs.iter();
            features.extend(texts.map(|text| Feature::CopyText {
                has_variables: text.is_expanded && text.text.contains('$'),
            }));
            if keyword == "add" {
                let mut sources = instruction.arguments().unwrap_or_default();
                sources.pop();
                features.extend(unpacking(instruction, &sources));
                features.extend(sources.into_iter().filter(|it| is_repository(it)).map(Feature::Repository));
            }
        }
        _ => {}
    }
    features.into_iter().map(|feature| Use { feature, line: instruction.line }).collect()
}

fn of_flag(keyword: &str, (name, value): (&str, Option<&str>)) -> Option<Feature> {
    // The sources decide whether `--unpack` matters.
    if value == Some("false") || (keyword, name) == ("add", "unpack") {
        return None;
    }
    if (keyword, name) == ("run", "mount") {
        let mount = stages::mount(value?).ok()?;
        let kind = mount.kind.unwrap_or_else(|| "bind".to_owned()).to_ascii_lowercase();
        return Some(Feature::Mount { kind, from: mount.from });
    }
    Some(Feature::Flag {
        instruction: keyword.to_ascii_uppercase(),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    })
}

/// `--unpack`, if it changes something for one of the `sources` of `ADD`. By itself, `ADD` unpacks archives of the context, and
/// leaves what it fetches as it is.
///
/// A source that begins with a variable may be either, and nobody writes the flag for what is done without it.
fn unpacking(instruction: &Instruction, sources: &[String]) -> Option<Feature> {
    let value = instruction.named_flags().filter(|(name, _)| *name == "unpack").last()?.1;
    let is_off = value == Some("false");
    let matters = |source: &String| {
        let is_remote = source.starts_with("http://") || source.starts_with("https://");
        source.starts_with('$') || (is_remote != is_off && is_heredoc(source) != Ok(true))
    };
    sources.iter().any(matters).then(|| Feature::Flag {
        instruction: "ADD".to_owned(),
        name: "unpack".to_owned(),
        value: value.map(str::to_owned),
    })
}

/// Whether the variable `name` stands in `text`, and not only one whose name begins or ends like that.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |next: char| next.is_alphanumeric() || next == '_';
    text.split('$').skip(1).any(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest).strip_prefix(name);
        rest.is_some_and(|rest| !rest.starts_with(is_part))
    })
}

fn run_text(instruction: &Instruction) -> Option<Feature> {
    let text = instruction.heredocs.first()?;
    let is_script = is_heredoc(&instruction.rest) == Ok(true);
    let interpreter = if is_script { text.shebang() } else { None };
    Some(Feature::RunText {
        is_script,
        is_plain: instruction.rest == format!("<<{}", text.name),
        // Lines that a backslash joins come to the same: whoever reads them first joins them.
        has_expansions: is_script
            && text.is_expanded
            && text.text.replace("\\\n", "").contains(['$', '`', '\\']),
        interpreter: interpreter.map(str::to_owned),
    })
}

/// Whether `BuildKit` takes a source of `ADD` for a git repository, as far as its form tells.
/// Source: `BuildKit` v0.26, `util/gitutil/git_ref.go`.
fn is_repository(source: &str) -> bool {
    if ["git@", "git://", "ssh://"].iter().any(|start| source.starts_with(start)) {
        return true;
    }
    let rest = source.strip_prefix("https://").or_else(|| source.strip_prefix("http://"));
    let path = rest.and_then(|rest| rest.split(['#', '?']).next());
    path.and_then(|path| path.rsplit_once('/')).is_some_and(|(_, name)| name.strip_suffix(".git").is_some())
}
