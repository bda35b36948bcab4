//! What a step does, for programs.

use serde::{Deserialize, Serialize};

/// What a step does. Its name says the same for people, with the details.
///
/// A kind that a later version adds is read as [`StepKind::Other`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepKind {
    /// Reads the build context, or parts of it, on this machine.
    Scan,
    /// Asks a registry or a daemon about an image: whether it exists, or what it is.
    LookUp,
    /// Makes ready what builds: a namespace, a daemon.
    Prepare,
    /// Sends what the build reads to the builder.
    Upload,
    /// Waits for something in the cluster.
    Wait,
    /// Waits for a build of the same image that another program has begun.
    Join,
    /// Runs an instruction of the Dockerfile.
    Instruction(Instruction),
    /// Reads or writes a build cache.
    Cache,
    /// Makes the image from its layers. Some builders push it in the same step.
    Export,
    /// Pushes the image.
    Push,
    /// Asks the registry whether it has what was pushed.
    Confirm,
    /// Removes what the build created for itself, or what nobody uses any more.
    CleanUp,
    /// Installs something that outlives builds.
    Install,
    /// Copies an image or one of its layers from one place to another.
    Copy,
    /// Something else.
    #[serde(other)]
    Other,
}

/// An instruction of a Dockerfile, and its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Instruction {
    /// Its number within its stage, from 1. kaniko does not say it.
    pub number: Option<u32>,
    /// How many instructions its stage has; with Docker's classic builder, how many the Dockerfile has.
    pub of: Option<u32>,
    /// The name of its stage; with kaniko, the image that the stage begins with. `BuildKit` does not say it if there is only one.
    pub stage: Option<String>,
    /// The platform that it is for, such as `linux/arm64`, if the build is for several. Where it runs on another one, that comes
    /// first: `linux/amd64->arm64`.
    pub platform: Option<String>,
    /// The instruction, such as `RUN make`.
    pub text: String,
}

impl Instruction {
    /// Makes one of which only the `text` is known. Set what else is.
    pub fn new(text: impl Into<String>) -> Self {
        Self { number: None, of: None, stage: None, platform: None, text: text.into() }
    }
}

impl From<Instruction> for StepKind {
    fn from(instruction: Instruction) -> Self {
        Self::Instruction(instruction)
    }
}

impl StepKind {
    /// Returns the stable name of the kind, which is its `type` in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::LookUp => "look-up",
            Self::Prepare => "prepare",
            Self::Upload => "upload",
            Self::Wait => "wait",
            Self::Join => "join",
            Self::Instruction(_) => "instruction",
            Self::Cache => "cache",
            Self::Export => "export",
            Self::Push => "push",
            Self::Confirm => "confirm",
            Self::CleanUp => "clean-up",
            Self::Install => "install",
            Self::Copy => "copy",
            Self::Other => "other",
        }
    }

    /// How many bytes its texts have.
    pub(crate) fn text_size(&self) -> usize {
        let Self::Instruction(Instruction { stage, platform, text, .. }) = self else { return 0 };
        text.len() + [stage, platform].into_iter().flatten().map(String::len).sum::<usize>()
    }
}
