//! With the `BuildKit` in the daemon.
//!
//! Why: docs/decisions/47-dockers-buildkit-has-our-client.md

use std::sync::Arc;

use garden_build_core::{BuildControl, BuildJob, ImageReference, ProxyVariables, Result};
use garden_buildkit::client::{Client, DockerfileBuild, ImageExport};
use garden_buildkit::{BuildImages, Run, request};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::ImageBuilder;
use super::credentials::BaseImageLogins;
use super::flags::Flags;

/// Builds the image, which becomes one of the daemon's as `name`. Returns how many steps came from a cache, and how many were
/// run.
pub(crate) async fn build(
    builder: &ImageBuilder<'_>,
    job: &BuildJob,
    name: &ImageReference,
    flags: &Flags,
    connection: TokioIo<Upgraded>,
    cx: &BuildControl,
) -> Result<(usize, usize)> {
    let wanted = wanted(job, name, flags, builder.proxies);
    let images = BuildImages::of(job, &wanted);
    let logins = BaseImageLogins { credentials: builder.credentials.clone(), images };
    let mut run = Run::new(job, Arc::new(logins), cx, builder.advice);
    let built = match Client::connect(connection).await {
        Ok(client) => {
            let client = if builder.daemon.is_local() { client } else { client.compressing() };
            Box::pin(run.build(&client, wanted)).await
        }
        Err(error) => Err(error),
    };
    match built {
        Ok(_) => Ok(run.counts()),
        Err(error) => Err(run.failed_here().unwrap_or_else(|| run.explain(error))),
    }
}

/// What the daemon is asked to build.
pub(crate) fn wanted(
    job: &BuildJob,
    name: &ImageReference,
    flags: &Flags,
    proxies: &ProxyVariables,
) -> DockerfileBuild {
    let mut wanted = request::build(job);
    wanted.image = ImageExport::Docker { names: vec![name.to_string()] };
    wanted.proxies = proxies.clone();
    wanted.entitlements = flags.entitlements();
    wanted.attributes = flags.attributes();
    wanted
}
