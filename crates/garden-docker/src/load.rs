use std::io;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use garden_build_core::{Error, ImageReference};
use garden_registry::{Location, Platforms, Remedies, SaveError, Saved, save};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

use crate::{DockerDaemon, DockerError};

/// How much of an archive may wait on its way, in bytes.
const ON_ITS_WAY: usize = 256 * 1024;

/// Why a daemon does not have an image that it was given.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The image could not be read from its registry.
    #[error(transparent)]
    Image(SaveError),
    /// The daemon did not take it.
    #[error(transparent)]
    Daemon(#[from] DockerError),
}

garden_build_core::debug_with_causes!(LoadError);

impl LoadError {
    /// Explains what happened and, in the words of `remedies` where it is about the registry, what to do.
    pub fn explain(self, remedies: &Remedies) -> Error {
        match self {
            Self::Image(error) => error.explain(remedies),
            Self::Daemon(error) => error.into(),
        }
    }
}

impl DockerDaemon {
    /// Gives the daemon the image at `source`, for the daemon's platform, under `name`. It goes through this machine, so the
    /// daemon need not reach the registry, and gets no credentials. Nothing of it is held in memory or on disk here.
    ///
    /// # Errors
    /// If the image cannot be read, is not there for the platform, or the daemon does not take it.
    pub async fn load(&self, source: &Location, name: &ImageReference) -> Result<(), LoadError> {
        let platforms = Platforms::Only(self.platform().await?);
        let (mut input, output) = tokio::io::duplex(ON_ITS_WAY);
        let (end, ended) = oneshot::channel();
        let saving = async move {
            let saved = save(source, &platforms, name, &mut input).await;
            // First what the end means, then the end.
            let _ = end.send(saved.is_ok());
            saved
        };
        // An archive that breaks off must not look as if it were complete.
        let broken_off = stream::once(ended).filter_map(async |ended| match ended {
            Ok(true) => None,
            _ => Some(Err(io::Error::other("the image was read only in part"))),
        });
        let archive = ReaderStream::new(output).chain(broken_off.boxed());
        let options = bollard::query_parameters::ImportImageOptionsBuilder::new().quiet(true).build();
        let docker = self.api().await?;
        let loading = docker.import_image_stream(options, archive, None).try_for_each(async |_| Ok(()));
        let (saved, loaded) = tokio::join!(saving, loading);
        match (saved, loaded) {
            (Ok(saved), Ok(())) => Ok(self.confirm(name, &saved).await?),
            // The archive could not be written because the daemon did not take it.
            (Ok(_) | Err(SaveError::Write { .. }), Err(error)) => {
                Err(self.failed(&format!("load {name}"), error).into())
            }
            (Err(error), _) => Err(LoadError::Image(error)),
        }
    }

    /// Docker's identifier of an image is the digest of its configuration, or of its manifest, depending on how it stores
    /// images.
    async fn confirm(&self, name: &ImageReference, saved: &Saved) -> Result<(), DockerError> {
        let found = self.image_id(name).await?;
        if found.is_some() && [Some(saved.root.digest), saved.config].contains(&found) {
            return Ok(());
        }
        let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
        Err(DockerError::WrongImage { address: self.address().to_owned(), image: name.to_string(), found })
    }
}
