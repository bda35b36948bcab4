use bollard::query_parameters::PushImageOptionsBuilder;
use futures::TryStreamExt as _;
use garden_build_core::{
    BuildControl, Digest, Error, ErrorKind, ImageReference, LogSource, Result, Step, StepKind,
};

use super::credentials::of_image;
use super::{ImageBuilder, failure};
use crate::DockerError;

/// Has the daemon push `image`, with the credentials that count now. Returns the manifest's digest.
pub(crate) async fn push(
    builder: &ImageBuilder<'_>,
    image: &ImageReference,
    cx: &BuildControl,
) -> Result<Digest> {
    let step = cx.events.step(StepKind::Push, format!("push {image}"));
    let pushed = send(builder, image, &step).await;
    step.end(pushed)
}

async fn send(builder: &ImageBuilder<'_>, image: &ImageReference, step: &Step) -> Result<Digest> {
    let credentials = of_image(builder.credentials, image).await?;
    let repository = format!("{}/{}", image.registry(), image.repository());
    let options = PushImageOptionsBuilder::new().tag(image.tag().unwrap_or_default()).build();
    let mut said = builder.daemon.api().await?.push_image(&repository, Some(options), credentials);
    let mut digest = None;
    loop {
        match said.try_next().await {
            Ok(Some(said)) => {
                let Some(status) = said.status else { continue };
                digest = digest_in(&status).or(digest);
                if is_news(&status) {
                    step.log(LogSource::Builder, status);
                }
            }
            Ok(None) => break,
            Err(error) => {
                return Err(match builder.daemon.failed(&format!("push {image}"), error) {
                    DockerError::Refused { message, .. } => {
                        failure::explain_push(&image.to_string(), &message, &builder.advice)
                    }
                    error => builder.lost(error),
                });
            }
        }
    }
    // The daemon ends its answer in the same way when it is stopped in the middle of a push.
    digest.ok_or_else(|| {
        let address = builder.daemon.address();
        let message = format!("the Docker daemon at {address} ended its answer before it had pushed {image}");
        Error::new(ErrorKind::BuilderLost, message).with_hint(builder.advice.lost).retryable()
    })
}

/// The rest is said of every layer, many times.
fn is_news(status: &str) -> bool {
    !["Preparing", "Waiting", "Pushing", "Pushed", "Layer already exists", "Retrying"]
        .iter()
        .any(|known| status.starts_with(known))
}

/// Reads `v-0123: digest: sha256:… size: 528`, with which each push ends.
/// Source: Docker, `distribution/push_v2.go` and `daemon/containerd/image_push.go`.
fn digest_in(status: &str) -> Option<Digest> {
    let (_, rest) = status.split_once(": digest: ")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_in_the_last_word_of_a_push() {
        let digest = Digest::of(b"manifest");
        assert_eq!(digest_in(&format!("v-1: digest: {digest} size: 528")), Some(digest));
        for other in ["Pushed", "The push refers to repository [r.example/a]", "v-1: digest: what size: 1"] {
            assert_eq!(digest_in(other), None);
        }
    }
}
