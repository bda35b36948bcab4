//! Gives a registry blobs.
//!
//! Source: OCI distribution specification, section "Mounting a blob from another repository".

use garden_build_core::Digest;
use http::{Method, StatusCode, Uri};

use super::RegistryClient;
use super::ask::Asked;
use super::blobs::BlobSource;
use super::part::Sent;
use super::upload_session::{Broken, Session, empty};
use crate::answer::Answer;
use crate::authenticate::{Access, Action};
use crate::error::RegistryError;
use crate::manifest::Descriptor;
use crate::origin::Origin;
use crate::transport::{Operation, Patience};

/// How often an upload is begun. Distribution forgets one of which a part broke.
const TRIES: u32 = 5;

/// How a blob came into a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Uploaded {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// Its content was sent.
    Sent,
}

impl RegistryClient {
    /// Makes sure that `repository` has a blob: has it taken `from` another repository of this registry if that can be, asks
    /// whether it is there, and sends the content of `source` otherwise.
    ///
    /// # Errors
    /// If the registry does not take it, or the source fails or has other content than `blob` says. Nothing is left
    /// at the registry then that is kept.
    pub async fn upload_blob(
        &self,
        repository: &str,
        blob: &Descriptor,
        from: Option<&str>,
        source: &dyn BlobSource,
        sent: &Sent,
    ) -> Result<Uploaded, RegistryError> {
        let repository = self.repository(repository)?;
        let access = Access { repository: &repository, action: Action::Push };
        let mut session = None;
        if let Some(from) = from {
            match self.mount(&access, blob.digest, &self.repository(from)?).await? {
                Mount::Done => return Ok(Uploaded::Mounted),
                Mount::UploadBegun(begun) => session = Some(*begun),
                Mount::Refused => {}
            }
        }
        if self.has(&access, blob.digest).await? {
            if let Some(session) = session {
                session.cancel().await;
            }
            return Ok(Uploaded::Existed);
        }
        let mut tries = 1;
        loop {
            let mut current = match session.take() {
                Some(session) => session,
                None => self.start_upload(&access).await?,
            };
            match current.send(blob, source, sent).await {
                Ok(()) => return Ok(Uploaded::Sent),
                Err(Broken::Lost(_)) if tries < TRIES => tries += 1,
                Err(Broken::Lost(error)) => return Err(error),
                Err(Broken::Failed(error)) => {
                    current.cancel().await;
                    return Err(error);
                }
            }
        }
    }

    /// Asks the registry to take a blob from one of its repositories.
    async fn mount<'a>(
        &'a self,
        access: &'a Access<'a>,
        digest: Digest,
        from: &str,
    ) -> Result<Mount<'a>, RegistryError> {
        let uri = self
            .0
            .endpoint
            .of_repository(access.repository, &format!("blobs/uploads/?mount={digest}&from={from}"))?;
        let also_from = Access { action: Action::PushFrom(from), ..*access };
        let operation = self.begin(Patience::Transfer);
        match self.ask(empty(Method::POST, uri.clone()), &also_from, &operation).await {
            Ok(asked) if asked.status() == StatusCode::CREATED => Ok(Mount::Done),
            // Registries that cannot mount, or not from there, differ in how they say so; one with tokens says
            // that the token is not enough.
            Ok(asked) if asked.status().is_client_error() => Ok(Mount::Refused),
            Err(RegistryError::Unauthorized(_) | RegistryError::Forbidden(_)) => Ok(Mount::Refused),
            asked => {
                let session = self.session(asked?, &uri, access, operation).await?;
                Ok(Mount::UploadBegun(Box::new(session)))
            }
        }
    }

    async fn start_upload<'a>(&'a self, access: &'a Access<'a>) -> Result<Session<'a>, RegistryError> {
        let uri = self.0.endpoint.of_repository(access.repository, "blobs/uploads/")?;
        let operation = self.begin(Patience::Transfer);
        let asked = self.ask(empty(Method::POST, uri.clone()), access, &operation).await?;
        self.session(asked, &uri, access, operation).await
    }

    async fn session<'a>(
        &'a self,
        asked: Asked,
        uri: &Uri,
        access: &'a Access<'a>,
        operation: Operation<'a>,
    ) -> Result<Session<'a>, RegistryError> {
        if asked.status() != StatusCode::ACCEPTED {
            return Err(self.explain(asked, access).await?.error);
        }
        let location = self.upload_location(&asked.answer, uri)?;
        Ok(Session { client: self, access, operation, location, offset: 0 })
    }

    /// Returns where an upload goes on.
    ///
    /// A registry behind a proxy that speaks TLS for it may not know that, and name itself without TLS: it is still
    /// asked with TLS. To anybody else without TLS nothing is sent.
    pub(super) fn upload_location(&self, answer: &Answer, asked: &Uri) -> Result<Uri, RegistryError> {
        let refused = |reason: &str| RegistryError::Redirect {
            server: answer.server.clone(),
            reason: reason.to_owned(),
        };
        let location = answer.location(asked).map_err(refused)?;
        let endpoint = &self.0.endpoint.origin;
        if let Some(origin) = Origin::of(&location) {
            self.0.transport.confine(&self.0.endpoint, &origin)?;
        }
        match Origin::of(&location) {
            Some(origin) if endpoint.is_encrypted() && !origin.is_encrypted() => {
                let own = location.path_and_query().filter(|_| origin.has_host_of(endpoint));
                let own = own.and_then(|path| format!("{endpoint}{path}").parse().ok());
                own.ok_or_else(|| refused("it leads from TLS to plain HTTP"))
            }
            _ => Ok(location),
        }
    }
}

/// What became of the wish to take a blob from another repository.
enum Mount<'a> {
    Done,
    /// The registry would rather have the content.
    UploadBegun(Box<Session<'a>>),
    Refused,
}
