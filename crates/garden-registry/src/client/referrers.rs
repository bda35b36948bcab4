//! What was said about a manifest by others: signatures, attestations, lists of contents.
//!
//! Source: OCI distribution specification, sections "Listing Referrers" and "Referrers Tag Schema".

use std::collections::BTreeSet;

use garden_build_core::Digest;
use http::header::ACCEPT;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::RegistryClient;
use super::ask::Refused;
use super::extent::Extent;
use crate::authenticate::{Access, Action};
use crate::error::RegistryError;
use crate::manifest::{Descriptor, Manifest};
use crate::media_type;
use crate::transport::{Call, Patience};

/// The largest page that is read, in bytes.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// The most manifests that refer to one.
const MOST_REFERRERS: usize = 10_000;

impl RegistryClient {
    /// Lists the manifests whose subject is `digest`.
    ///
    /// Registries that do not know the question are asked for the tag under which clients keep the list there.
    ///
    /// # Errors
    /// If the registry does not answer the question. That nothing refers to the manifest is an answer.
    pub async fn referrers(
        &self,
        repository: &str,
        digest: Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let repository = self.repository(repository)?;
        let access = Access { repository: &repository, action: Action::Pull };
        self.list_in_time(self.read_referrers(&access, digest)).await
    }

    async fn read_referrers(
        &self,
        access: &Access<'_>,
        digest: Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let operation = self.begin(Patience::Transfer);
        let mut uri = self.0.endpoint.of_repository(access.repository, &format!("referrers/{digest}"))?;
        let mut listed = Vec::new();
        let mut known = BTreeSet::new();
        let mut extent = Extent::of_at_most(MOST_REFERRERS);
        loop {
            let accept = HeaderValue::from_static(media_type::INDEX);
            let asked = self
                .ask(Call::new(Method::GET, uri.clone()).header(ACCEPT, accept), access, &operation)
                .await?;
            if asked.status() != StatusCode::OK {
                let Refused { status, error, .. } = self.explain(asked, access).await?;
                // Also 405 and such: what does not know the question has many ways to say so.
                return match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(error),
                    _ if status.is_client_error() => self.referrers_by_tag(access, digest).await,
                    _ => Err(error),
                };
            }
            let answer = asked.answer;
            let next = answer.next_page(&uri, access)?;
            let too_long = answer.too_long(access);
            let body = answer.body(LARGEST_PAGE).await?;
            let bytes = body.len();
            let page = Manifest::new(Some(media_type::INDEX), body);
            let before = listed.len();
            listed.extend(page.children().iter().filter(|child| known.insert(child.digest)).cloned());
            if let Some(reason) = extent.add_page(bytes, listed.len()) {
                return Err(too_long(reason));
            }
            match next {
                // As in any other list: a page without anything new is the last.
                Some(next) if listed.len() > before => uri = next,
                _ => return Ok(listed),
            }
        }
    }

    async fn referrers_by_tag(
        &self,
        access: &Access<'_>,
        digest: Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let operation = self.begin(Patience::Transfer);
        let list = self.read_manifest(&referrers_tag(digest), None, access, &operation).await?;
        Ok(list.map_or_else(Vec::new, |list| list.children().to_vec()))
    }

    /// Lists `manifest` under the tag that stands for the referrers of `subject`, as clients have to where the
    /// registry does not. Two that do so at once may lose one of them; the specification knows no better.
    pub(super) async fn add_to_referrers_tag(
        &self,
        access: &Access<'_>,
        subject: Digest,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let mut listed = self.referrers_by_tag(access, subject).await?;
        if listed.iter().any(|descriptor| descriptor.digest == manifest.digest()) {
            return Ok(());
        }
        listed.push(manifest.descriptor());
        let list = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": listed });
        let list = Manifest::new(Some(media_type::INDEX), list.to_string());
        self.put_manifest(access, &referrers_tag(subject), &list).await.map(drop)
    }
}

fn referrers_tag(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}
