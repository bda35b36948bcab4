//! What there is in a registry.
//!
//! Source: OCI distribution specification, section "Content Discovery"; distribution project, "Listing
//! Repositories".

use std::collections::BTreeSet;

use http::header::{ACCEPT, LINK};
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;

use super::RegistryClient;
use super::ask::Refused;
use super::extent::Extent;
use crate::answer::Answer;
use crate::authenticate::{Access, Action, CATALOG};
use crate::endpoint::join;
use crate::error::RegistryError;
use crate::origin::Origin;
use crate::transport::{Call, Patience};

/// The most repositories of a registry, or tags of a repository.
const MOST_ENTRIES: usize = 500_000;

/// How many entries are asked for at once. Most registries give fewer if that is too much for them.
const PAGE: usize = 1000;

/// The largest page that is read, in bytes.
const LARGEST_PAGE: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
pub(super) struct Page {
    /// Go writes `null` for a list that has nothing in it.
    #[serde(alias = "repositories")]
    pub(super) tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// Lists the repositories, in the registry's order.
    ///
    /// # Errors
    /// If the registry does not answer the question; public ones usually don't.
    pub async fn repositories(&self) -> Result<Vec<String>, RegistryError> {
        let access = Access { repository: CATALOG, action: Action::ListRepositories };
        self.list(&self.0.endpoint.url("_catalog")?, &access).await
    }

    /// Lists the tags of a repository, in the registry's order; none if there is no such repository.
    ///
    /// # Errors
    /// If the registry does not answer the question.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, RegistryError> {
        let repository = self.repository(repository)?;
        let access = Access { repository: &repository, action: Action::Pull };
        self.list(&self.0.endpoint.of_repository(&repository, "tags/list")?, &access).await
    }

    async fn list(&self, whole: &Uri, access: &Access<'_>) -> Result<Vec<String>, RegistryError> {
        self.list_in_time(self.read_list(whole, access)).await
    }

    async fn read_list(&self, whole: &Uri, access: &Access<'_>) -> Result<Vec<String>, RegistryError> {
        let operation = self.begin(Patience::Transfer);
        let mut listed = Vec::new();
        let mut extent = Extent::of_at_most(MOST_ENTRIES);
        // Some registries begin a page with the last entry of the one before.
        let mut known = BTreeSet::new();
        let sized: Option<Uri> = format!("{whole}?n={PAGE}").parse().ok();
        let mut uri = sized.clone().unwrap_or_else(|| whole.clone());
        loop {
            let accept = HeaderValue::from_static("application/json");
            let asked = self
                .ask(Call::new(Method::GET, uri.clone()).header(ACCEPT, accept), access, &operation)
                .await?;
            // Distribution does not give fewer entries of its catalog than it is asked for, if that is too much.
            if asked.status() == StatusCode::BAD_REQUEST && sized.as_ref() == Some(&uri) {
                uri = whole.clone();
                continue;
            }
            if asked.status() != StatusCode::OK {
                let Refused { status, said, error } = self.explain(asked, access).await?;
                let is_missing = status == StatusCode::NOT_FOUND && access.repository != CATALOG;
                return if is_missing || said.says_missing() { Ok(listed) } else { Err(error) };
            }
            let answer = asked.answer;
            let next = answer.next_page(&uri, access)?;
            let malformed = answer.unexpected(access, "it is not a list in JSON");
            let too_long = answer.too_long(access);
            let body = answer.body(LARGEST_PAGE).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|_| malformed)?;
            let before = listed.len();
            listed.extend(page.tags.into_iter().flatten().filter(|entry| known.insert(entry.clone())));
            if let Some(reason) = extent.add_page(body.len(), listed.len()) {
                return Err(too_long(reason));
            }
            match next {
                // A page without anything new: the next one would not have it either.
                Some(next) if listed.len() > before => uri = next,
                _ => return Ok(listed),
            }
        }
    }
}

impl Answer {
    /// Returns where the list of which this is a page goes on.
    ///
    /// Source: RFC 8288; the specification has `Link: <…>; rel="next"`.
    pub(super) fn next_page(&self, asked: &Uri, access: &Access<'_>) -> Result<Option<Uri>, RegistryError> {
        let links = self.headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
        let Some(target) = links.flat_map(|links| links.split(',')).find_map(next_target) else {
            return Ok(None);
        };
        let next = join(asked, target).filter(|next| Origin::of(next) == Origin::of(asked));
        let reason = "the next page of its list is no URL, or elsewhere";
        next.map(Some).ok_or_else(|| self.unexpected(access, reason))
    }
}

pub(super) fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
        name.eq_ignore_ascii_case("rel") && value.trim_matches('"').eq_ignore_ascii_case("next")
    };
    // Distribution always names the relation; some registries name none.
    let parameters = parameters.trim_matches([';', ' ']);
    (parameters.is_empty() || parameters.split(';').any(is_next)).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page_however_the_link_is_written() {
        for (link, expected) in [
            (r#"</v2/_catalog?last=b&n=2>; rel="next""#, Some("/v2/_catalog?last=b&n=2")),
            ("</v2/x/tags/list?last=b>; rel=next", Some("/v2/x/tags/list?last=b")),
            (r#"<https://r.example/v2/x>; title="x"; REL="Next""#, Some("https://r.example/v2/x")),
            ("</v2/x>", Some("/v2/x")),
            (r#"</v2/x>; rel="prev""#, None),
            ("/v2/x", None),
        ] {
            assert_eq!(next_target(link), expected, "{link}");
        }
    }
}
