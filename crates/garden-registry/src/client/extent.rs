//! How long a list may be that comes in pages.
//!
//! Why: docs/decisions/26-others-have-bounds.md

use std::time::Duration;

use super::RegistryClient;
use crate::answer::Answer;
use crate::authenticate::Access;
use crate::error::RegistryError;

/// The most pages of a list. Registries give a hundred or a thousand entries at once.
const MOST_PAGES: usize = 10_000;

/// The most bytes of a list, in all of its pages.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How long a list may take in all.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// What was read of a list. It is the registry that says whether it goes on.
pub(super) struct Extent {
    most_entries: usize,
    pages: usize,
    bytes: usize,
}

impl Extent {
    pub(super) fn of_at_most(most_entries: usize) -> Self {
        Self { most_entries, pages: 0, bytes: 0 }
    }

    /// Takes note of a page of `bytes`, and says why no more of the list is read, if that is so. With it, there are `entries`.
    pub(super) fn add_page(&mut self, bytes: usize, entries: usize) -> Option<String> {
        self.pages += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if entries > self.most_entries {
            Some(format!("its list has more than {} entries", self.most_entries))
        } else if self.bytes > MOST_BYTES {
            Some(format!("its list has more than {MOST_BYTES} bytes"))
        } else if self.pages > MOST_PAGES {
            Some(format!("its list has more than {MOST_PAGES} pages"))
        } else {
            None
        }
    }
}

impl RegistryClient {
    /// Has a list read for as long as any list may take.
    pub(super) async fn list_in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let timeout = |_| RegistryError::Timeout { server: self.server(), after: LONGEST };
        tokio::time::timeout(LONGEST, reading).await.map_err(timeout)?
    }
}

impl Answer {
    /// Returns what to say when a list is too long, before its page is read.
    pub(super) fn too_long(&self, access: &Access<'_>) -> impl FnOnce(String) -> RegistryError + use<> {
        let (server, repository, status) = (self.server.clone(), access.repository.to_owned(), self.status);
        move |reason| RegistryError::Unexpected { server, repository, status, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_in_entries_bytes_and_pages() {
        let mut extent = Extent::of_at_most(10);
        assert_eq!(extent.add_page(100, 10), None);
        assert!(extent.add_page(100, 11).is_some_and(|reason| reason.contains("more than 10 entries")));
        assert!(extent.add_page(usize::MAX, 1).is_some_and(|reason| reason.contains("bytes")));
        let mut extent = Extent::of_at_most(10);
        assert!((0..MOST_PAGES).all(|_| extent.add_page(1, 1).is_none()));
        assert!(extent.add_page(1, 1).is_some_and(|reason| reason.contains("pages")));
    }
}
