//! Reading and writing manifests in a registry.

use garden_build_core::{Digest, ImageReference};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::ask::Refused;
use super::{RegistryClient, Resolution};
use crate::answer::Answer;
use crate::authenticate::{Access, Action};
use crate::error::RegistryError;
use crate::manifest::Manifest;
use crate::media_type;
use crate::transport::{Call, Operation, Patience};

/// Source: OCI distribution specification, section "Pulling manifests".
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Source: OCI distribution specification, section "Pushing Manifests with Subject".
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The largest manifest that is read, in bytes.
///
/// Source: OCI distribution specification, section "Pushing Manifests": registries should accept at
/// least 4 MiB, and hardly any takes more.
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

impl RegistryClient {
    /// Asks whether the image exists and which digest its tag stands for.
    ///
    /// A reference with both tag and digest is looked up by its digest.
    ///
    /// # Errors
    /// If the registry does not answer the question: see [`RegistryError`]. That the image does not
    /// exist is an answer.
    pub async fn resolve(&self, image: &ImageReference) -> Result<Resolution, RegistryError> {
        let repository = self.repository_of(image)?;
        let (reference, expected) = wanted(image);
        let access = Access { repository: &repository, action: Action::Pull };
        let operation = self.begin(Patience::Question);

        let asked =
            self.ask(self.manifest_call(Method::HEAD, &access, reference)?, &access, &operation).await?;
        match asked.status() {
            StatusCode::OK => {
                if let Some(digest) = content_digest(&asked.answer).filter(|_| may_be_manifest(&asked.answer))
                {
                    check(digest, expected).map_err(|reason| asked.answer.unexpected(&access, reason))?;
                    return Ok(Resolution::Exists(digest));
                }
            }
            StatusCode::NOT_FOUND => return Ok(Resolution::Missing),
            StatusCode::UNAUTHORIZED => return Err(self.explain(asked, &access).await?.error),
            _ => {}
        }
        // Either the digest is missing, or the reason, which the answer to a HEAD has no room for.
        let manifest = self.read_manifest(reference, expected, &access, &operation).await?;
        Ok(manifest.map_or(Resolution::Missing, |manifest| Resolution::Exists(manifest.digest())))
    }

    /// Reads the image's manifest or index; `None` if the registry has no such image.
    ///
    /// # Errors
    /// If the registry does not answer the question, or with other content than the digest asked for.
    pub async fn manifest(&self, image: &ImageReference) -> Result<Option<Manifest>, RegistryError> {
        let repository = self.repository_of(image)?;
        let (reference, expected) = wanted(image);
        let access = Access { repository: &repository, action: Action::Pull };
        self.read_manifest(reference, expected, &access, &self.begin(Patience::Transfer)).await
    }

    /// Gives the registry a manifest, under the reference's tag, or under its digest if it has none. All that the manifest
    /// names has to be there already.
    ///
    /// # Errors
    /// If the registry does not take it, or the reference has another digest than the manifest.
    pub async fn push_manifest(
        &self,
        image: &ImageReference,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let repository = self.repository_of(image)?;
        let access = Access { repository: &repository, action: Action::Push };
        check(manifest.digest(), wanted(image).1).map_err(|reason| RegistryError::Malformed {
            what: format!("the manifest for {image}"),
            reason,
        })?;
        let digest = manifest.digest().to_string();
        let knows_subjects = self.put_manifest(&access, image.tag().unwrap_or(&digest), manifest).await?;
        match manifest.subject() {
            Some(subject) if !knows_subjects => {
                self.add_to_referrers_tag(&access, subject.digest, manifest).await
            }
            _ => Ok(()),
        }
    }

    /// Puts a manifest, and returns whether the registry has taken notice of its subject.
    pub(super) async fn put_manifest(
        &self,
        access: &Access<'_>,
        reference: &str,
        manifest: &Manifest,
    ) -> Result<bool, RegistryError> {
        let digest = manifest.digest();
        let media_type =
            HeaderValue::from_str(manifest.media_type()).map_err(|_| RegistryError::Malformed {
                what: format!("the media type of manifest {digest}"),
                reason: "it cannot stand in a header".to_owned(),
            })?;
        let mut call = self.manifest_call(Method::PUT, access, reference)?.header(CONTENT_TYPE, media_type);
        call.body = manifest.bytes().clone();
        let asked = self.ask(call, access, &self.begin(Patience::Transfer)).await?;
        if !asked.status().is_success() {
            return Err(self.explain(asked, access).await?.error);
        }
        match content_digest(&asked.answer) {
            Some(taken) if taken != digest => {
                let reason = format!("it received {digest}, and calls it {taken}");
                Err(asked.answer.unexpected(access, reason))
            }
            _ => Ok(asked.answer.headers.contains_key(OCI_SUBJECT)),
        }
    }

    pub(super) async fn read_manifest(
        &self,
        reference: &str,
        expected: Option<Digest>,
        access: &Access<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Manifest>, RegistryError> {
        let asked = self.ask(self.manifest_call(Method::GET, access, reference)?, access, operation).await?;
        if asked.status() != StatusCode::OK {
            let Refused { status, said, error } = self.explain(asked, access).await?;
            let is_missing = status == StatusCode::NOT_FOUND || said.says_missing();
            return if is_missing { Ok(None) } else { Err(error) };
        }
        let answer = asked.answer;
        let promised = content_digest(&answer);
        let media_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(str::to_owned);
        let (status, server) = (answer.status, answer.server.clone());
        let bytes = answer.body(LARGEST_MANIFEST).await?;
        let unexpected = |reason| RegistryError::Unexpected {
            server,
            repository: access.repository.to_owned(),
            status,
            reason,
        };
        if let Some(instead) = Manifest::instead(media_type.as_deref(), &bytes) {
            return Err(unexpected(format!(
                "with {instead} instead of a manifest, so no registry answers there"
            )));
        }
        let manifest = Manifest::new(media_type.as_deref(), bytes);
        check(manifest.digest(), expected.or(promised)).map_err(unexpected)?;
        Ok(Some(manifest))
    }

    fn manifest_call(
        &self,
        method: Method,
        access: &Access<'_>,
        reference: &str,
    ) -> Result<Call, RegistryError> {
        let uri = self.0.endpoint.of_repository(access.repository, &format!("manifests/{reference}"))?;
        Ok(Call::new(method, uri).header(ACCEPT, HeaderValue::from_static(media_type::MANIFESTS)))
    }

    /// Returns `repository` as it stands in the API, if it can be a repository's name at all.
    pub(super) fn repository(&self, repository: &str) -> Result<String, RegistryError> {
        match ImageReference::tagged("registry.example", repository, "tag") {
            Ok(_) => Ok(self.0.endpoint.repository(repository)),
            Err(_) => Err(RegistryError::Malformed {
                what: format!("the repository's name `{}`", repository.escape_debug()),
                reason: "it does not follow the grammar of image references".to_owned(),
            }),
        }
    }

    pub(super) fn repository_of(&self, image: &ImageReference) -> Result<String, RegistryError> {
        let endpoint = &self.0.endpoint;
        if !endpoint.is_called(image.registry()) {
            let (registry, reference) = (endpoint.name.clone(), image.to_string());
            return Err(RegistryError::WrongRegistry { registry, reference });
        }
        Ok(endpoint.repository(image.repository()))
    }
}

/// Returns what the image is asked for by, and its digest if that is known.
fn wanted(image: &ImageReference) -> (&str, Option<Digest>) {
    let expected = image.digest().and_then(|digest| digest.parse().ok());
    (image.digest().or(image.tag()).unwrap_or("latest"), expected)
}

/// An image that is asked for by its digest can have no other.
fn check(digest: Digest, expected: Option<Digest>) -> Result<(), String> {
    match expected {
        Some(expected) if expected != digest => Err(format!("asked for {expected}, it has {digest}")),
        _ => Ok(()),
    }
}

/// Whether the answer to a HEAD can be about a manifest. Some registries name one type for all that they have, or none.
fn may_be_manifest(answer: &Answer) -> bool {
    let Some(content_type) = answer.headers.get(CONTENT_TYPE) else { return true };
    let media_type = content_type.to_str().map(media_type::essence).unwrap_or_default();
    media_type::is_of_manifest(media_type)
        || media_type.ends_with("json")
        || media_type == "application/octet-stream"
}

fn content_digest(answer: &Answer) -> Option<Digest> {
    answer.headers.get(CONTENT_DIGEST)?.to_str().ok()?.trim().parse().ok()
}
