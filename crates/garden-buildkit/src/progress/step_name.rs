//! What the name says that a daemon gives to a step.
//!
//! Why: docs/decisions/23-events-are-data-first.md

use garden_build_core::{Instruction, StepKind};

use crate::client::CONTEXT;
use crate::request::local_name;

/// The daemon's name for the step in which it is sent the build context.
/// Source: `BuildKit`, `frontend/dockerui/config.go`, `MainContext`.
pub(super) const LOAD_CONTEXT: &str = "[internal] load build context";

/// Returns which directory of the session is sent in the step of this name: the build context, or a named one.
/// Source: `BuildKit`, `frontend/dockerui/namedcontext.go`, `asyncLocalOutput`.
pub(super) fn sent_directory(name: &str) -> Option<String> {
    if name == LOAD_CONTEXT {
        return Some(CONTEXT.to_owned());
    }
    name.strip_prefix("[context ")?.strip_suffix("] load from client").map(local_name)
}

/// Returns what a step does that has this name.
///
/// Sources: `BuildKit` 0.26, `frontend/dockerui/config.go` and `namedcontext.go`, `frontend/dockerfile/dockerfile2llb/convert.go`
/// and `solver/llbsolver/solver.go`, `exporter/containerimage/export.go`, `cache/remotecache`.
pub(super) fn kind(name: &str) -> StepKind {
    if let Some((place, text)) = placed(name) {
        return read(place, text).into();
    }
    let begins = |with: &str| name.starts_with(with);
    if begins("[internal] load metadata ") || begins("resolve image config ") {
        StepKind::LookUp
    } else if begins("[internal] load ") || (begins("[context ") && name.ends_with(" from client")) {
        StepKind::Upload
    } else if begins("importing cache ")
        || begins("exporting cache ")
        || name == "preparing build cache for export"
    {
        StepKind::Cache
    } else if begins("exporting to ") {
        StepKind::Export
    } else if begins("pushing ") {
        StepKind::Push
    } else {
        StepKind::Other
    }
}

/// Whether a step is an instruction that makes a layer or changes the image: `[2/3] RUN make` or
/// `[build 2/3] RUN make`, but neither `[internal] …` nor `exporting to image`. FROM makes nothing.
pub(super) fn is_instruction(name: &str) -> bool {
    placed(name).is_some_and(|(_, text)| !text.starts_with("FROM "))
}

/// Whether a step fetches a base image.
pub(super) fn is_from(name: &str) -> bool {
    name.starts_with('[') && name.contains("] FROM ")
}

/// Returns what a step does, without its place in the build.
pub(super) fn instruction(name: &str) -> &str {
    placed(name).filter(|(_, text)| !text.starts_with("FROM ")).map_or(name, |(_, text)| text)
}

/// Returns the place of an instruction and the instruction: of `[build 2/3] RUN make`, `build 2/3` and `RUN make`.
///
/// Source: `BuildKit`, `frontend/dockerfile/dockerfile2llb/convert.go`, `prefixCommand`.
fn placed(name: &str) -> Option<(&str, &str)> {
    let (place, text) = name.strip_prefix('[')?.split_once("] ")?;
    let number = place.rsplit(' ').next().unwrap_or(place);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (this, of) = number.split_once('/')?;
    (is_number(this) && is_number(of)).then_some((place, text))
}

/// Reads a place such as `linux/amd64->arm64 build  2/15`: the platform if there are several, the name of the stage if there are several,
/// and the number, which is as wide as that of all.
fn read(place: &str, text: &str) -> Instruction {
    let mut words = place.split_ascii_whitespace().rev();
    let numbers = words.next().and_then(|word| word.split_once('/'));
    let (before, first) = (words.next(), words.next());
    // With two words, the first may be either; the name of a stage has no slash.
    let (platform, stage) = match (first, before) {
        (None, Some(word)) if word.contains('/') => (Some(word), None),
        (platform, stage) => (platform, stage),
    };
    let mut instruction = Instruction::new(text);
    instruction.number = numbers.and_then(|(number, _)| number.parse().ok());
    instruction.of = numbers.and_then(|(_, of)| of.parse().ok());
    instruction.stage = stage.map(str::to_owned);
    instruction.platform = platform.map(str::to_owned);
    instruction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> (Option<u32>, Option<u32>, Option<String>, Option<String>, String) {
        match kind(name) {
            StepKind::Instruction(Instruction { number, of, stage, platform, text, .. }) => {
                (number, of, stage, platform, text)
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn an_instruction_says_its_place() {
        let words = |word: &str| Some(word.to_owned());
        let make = || "RUN make".to_owned();
        for (name, expected) in [
            ("[2/3] RUN make", (Some(2), Some(3), None, None, make())),
            ("[build 2/3] RUN make", (Some(2), Some(3), words("build"), None, make())),
            ("[build  2/15] RUN make", (Some(2), Some(15), words("build"), None, make())),
            ("[ 2/15] RUN make", (Some(2), Some(15), None, None, make())),
            ("[linux/amd64 2/3] RUN make", (Some(2), Some(3), None, words("linux/amd64"), make())),
            (
                "[linux/amd64->arm64 stage-1 2/3] RUN make",
                (Some(2), Some(3), words("stage-1"), words("linux/amd64->arm64"), make()),
            ),
            ("[1/1] FROM busybox", (Some(1), Some(1), None, None, "FROM busybox".to_owned())),
            // What nobody has is left out.
            ("[99999999999/3] RUN make", (None, Some(3), None, None, make())),
        ] {
            assert_eq!(place(name), expected, "{name}");
        }
        assert_eq!(instruction("[build  2/15] RUN make"), "RUN make");
        assert_eq!(instruction("[1/2] FROM busybox"), "[1/2] FROM busybox");
    }

    #[test]
    fn other_steps_say_their_kind() {
        for (name, expected) in [
            ("[internal] load build definition from Dockerfile", StepKind::Upload),
            (LOAD_CONTEXT, StepKind::Upload),
            ("[context lib] load from client", StepKind::Upload),
            ("[internal] load metadata for docker.io/library/busybox:latest", StepKind::LookUp),
            ("resolve image config for docker-image://docker.io/docker/dockerfile:1", StepKind::LookUp),
            ("importing cache manifest from r.example/api:c", StepKind::Cache),
            ("exporting cache to registry", StepKind::Cache),
            ("exporting to image", StepKind::Export),
            ("pushing r.example/api:v-1 with docker", StepKind::Push),
            ("docker-image://docker.io/docker/dockerfile:1", StepKind::Other),
            ("[auth] library/busybox:pull token for registry-1.docker.io", StepKind::Other),
            ("[/] RUN make", StepKind::Other),
            ("", StepKind::Other),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
