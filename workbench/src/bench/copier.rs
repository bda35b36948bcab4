//! Who copies images: ours, `skopeo copy` and `crane copy`, each in a process of its own for each copy.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use garden_build::ImageReference;
use garden_build::registry::copy;

use super::process::{self, Needed, Reports};
use super::registry::locate;
use crate::testbed;

/// What is copied, and where to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Request {
    pub(super) source: ImageReference,
    pub(super) destination: ImageReference,
}

/// A program that copies images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copier {
    Ours,
    Skopeo,
    Crane,
}

impl Copier {
    pub(super) const ALL: [Self; 3] = [Self::Ours, Self::Skopeo, Self::Crane];

    /// Makes sure that the program is there.
    pub(super) fn prepare(self) -> Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Skopeo => testbed::install_peer("skopeo"),
            Self::Crane => testbed::peer("crane").map(drop),
        }
    }

    /// Returns what a reader should know it by.
    pub(super) fn describe(self) -> Result<String> {
        let (name, argument) = match self {
            Self::Ours => return Ok("garden-build".to_owned()),
            Self::Skopeo => ("skopeo copy", "--version"),
            Self::Crane => ("crane copy", "version"),
        };
        let output = Command::new(self.program()?).arg(argument).output()?;
        let printed = String::from_utf8(output.stdout)?;
        let version = printed.split_whitespace().last().context("no version")?;
        Ok(format!("{name} {}", version.trim_start_matches('v')))
    }

    fn program(self) -> Result<PathBuf> {
        match self {
            Self::Ours => Ok(env::current_exe()?),
            Self::Skopeo => Ok("skopeo".into()),
            Self::Crane => testbed::peer("crane"),
        }
    }

    pub(super) fn copy(self, request: &Request) -> Result<Needed> {
        let Request { source, destination } = request;
        let mut command = Command::new(self.program()?);
        match self {
            Self::Ours => {
                command.args(["bench", "one-copy", &source.to_string(), &destination.to_string()]);
            }
            Self::Skopeo => {
                command.args(["--insecure-policy", "copy", "--quiet", "--all"]);
                command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
                command.args([format!("docker://{source}"), format!("docker://{destination}")]);
            }
            Self::Crane => {
                command.args(["copy", "--insecure", &source.to_string(), &destination.to_string()]);
            }
        }
        process::run(&mut command, b"", Reports::OnErrors, |_| ())
    }
}

/// Copies as a program does that uses the library.
pub(super) fn copy_once(request: &Request) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (source, destination) = (locate(&request.source)?, locate(&request.destination)?);
    runtime.block_on(copy(&source, &destination, Arc::new(|_| ())))?;
    Ok(())
}
