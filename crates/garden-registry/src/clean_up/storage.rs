use std::collections::BTreeMap;

use garden_build_core::{Digest, ImageReference};
use jiff::Timestamp;

use super::bytes::total;
use super::inventory::StoredTag;

/// What is stored where a registry keeps its images: all of it, as [`Inventory`](super::Inventory), but for what
/// manifests say.
///
/// No registry tells through its API which manifests have no tag, and when something was pushed, so this is read from
/// the file system of the distribution project's registry.
///
/// Source: distribution, `registry/storage/paths.go`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StorageListing {
    /// When it was begun to be read, by the clock of the machine that wrote it.
    pub read_at: Timestamp,
    /// The repositories, by name.
    pub repositories: BTreeMap<String, ListedRepository>,
    /// The size of every blob, in bytes.
    pub blobs: BTreeMap<Digest, u64>,
}

/// What is stored for a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListedRepository {
    /// What each tag stands for.
    pub tags: BTreeMap<String, StoredTag>,
    /// When each manifest was pushed last.
    pub manifests: BTreeMap<Digest, Timestamp>,
    /// What is not understood, in words for people.
    pub unreadable: Vec<String>,
}

/// A text that is not the listing of a registry's storage.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the listing of the registry's storage cannot be used: {reason}")]
pub struct StorageListingError {
    reason: &'static str,
}

impl StorageListing {
    /// Returns how many bytes of storage all blobs take.
    pub fn stored_bytes(&self) -> u64 {
        total(self.blobs.values().copied())
    }

    /// The shell script whose output [`parse`](Self::parse) understands; its argument is the storage's directory.
    pub const SCRIPT: &str = include_str!("list_storage.sh");

    /// Reads what the script has written. Files in places where a registry has none are not understood, as far as they
    /// may be a tag or a manifest; others do not matter.
    ///
    /// # Errors
    /// If the text has no beginning or no end.
    pub fn parse(output: &str) -> Result<Self, StorageListingError> {
        let mut lines = output.lines();
        let read_at = lines.next().and_then(second);
        let read_at = read_at.ok_or(StorageListingError { reason: "it does not begin with the time" })?;
        let mut reader = Reader::default();
        let mut section = "";
        for line in lines {
            if let Some(name) = line.strip_prefix("= ") {
                section = name;
                continue;
            }
            match section {
                "tags" => reader.read_content(line),
                "times" => reader.read_time(line),
                "blobs" => reader.read_blob(line),
                _ => {}
            }
        }
        if section != "end" {
            return Err(StorageListingError { reason: "its end is missing" });
        }
        Ok(reader.finish(read_at))
    }
}

#[derive(Default)]
struct Reader {
    listing: StorageListing,
    contents: BTreeMap<(String, String), Option<Digest>>,
    times: BTreeMap<(String, String), Timestamp>,
}

impl Reader {
    /// Reads `repositories/NAME/_manifests/tags/TAG/current/link:DIGEST`.
    fn read_content(&mut self, line: &str) {
        let Some((path, content)) = line.split_once("/current/link:") else { return };
        if let Some((repository, Place::Tag(tag))) = place(&format!("{path}/current/link")) {
            self.contents.insert((repository, tag), content.trim().parse().ok());
        }
    }

    /// Reads `SECOND repositories/NAME/_manifests/…/link`.
    fn read_time(&mut self, line: &str) {
        let Some((time, path)) = line.split_once(' ') else { return };
        match (place(path), second(time)) {
            (Some((repository, Place::Tag(tag))), Some(time)) => {
                self.times.insert((repository, tag), time);
            }
            (Some((repository, Place::Manifest(digest))), Some(time)) => {
                self.listing.repositories.entry(repository).or_default().manifests.insert(digest, time);
            }
            (Some((repository, _)), _) => self.not_understood(&repository, path),
            (None, _) => {}
        }
    }

    /// Reads `SIZE blobs/sha256/XX/HEX/data`.
    fn read_blob(&mut self, line: &str) {
        let Some((size, path)) = line.split_once(' ') else { return };
        let Some(hex) = path.strip_prefix("blobs/sha256/").and_then(|path| path.strip_suffix("/data")) else {
            return;
        };
        let digest = hex.split_once('/').and_then(|(_, hex)| format!("sha256:{hex}").parse().ok());
        if let (Some(digest), Ok(size)) = (digest, size.parse()) {
            self.listing.blobs.insert(digest, size);
        }
    }

    fn not_understood(&mut self, repository: &str, path: &str) {
        let repository = self.listing.repositories.entry(repository.to_owned()).or_default();
        repository.unreadable.push(format!("the file {}", path.escape_debug()));
    }

    fn finish(mut self, read_at: Timestamp) -> StorageListing {
        self.listing.read_at = read_at;
        // A tag that was deleted between the two looks at it has no time.
        for ((repository, tag), pushed) in std::mem::take(&mut self.times) {
            let digest = self.contents.remove(&(repository.clone(), tag.clone())).flatten();
            let listed = self.listing.repositories.entry(repository).or_default();
            match digest {
                Some(digest) => {
                    listed.tags.insert(tag, StoredTag { digest, pushed });
                }
                // It was pushed between the two looks, and so was its manifest, whose own time tells it.
                None if pushed >= read_at => {}
                None => listed.unreadable.push(format!("the tag `{tag}`, which stands for no digest")),
            }
        }
        self.listing
    }
}

/// What a file of a repository is.
enum Place {
    Tag(String),
    Manifest(Digest),
    Unknown,
}

/// Describes which repository a file belongs to, and what it is there; `None` if it belongs to none.
fn place(path: &str) -> Option<(String, Place)> {
    let (repository, rest) = path.strip_prefix("repositories/")?.split_once("/_manifests/")?;
    // A name that no image can have is none of the registry's, whose API could not delete in it either.
    ImageReference::tagged("registry.example", repository, "tag").ok()?;
    let rest = rest.strip_suffix("/link")?;
    let place = if let Some(tag) = rest.strip_prefix("tags/").and_then(|rest| rest.strip_suffix("/current")) {
        let is_tag = ImageReference::tagged("registry.example", repository, tag).is_ok();
        if is_tag { Place::Tag(tag.to_owned()) } else { Place::Unknown }
    } else {
        let digest = rest.strip_prefix("revisions/").map(|rest| rest.replacen('/', ":", 1));
        digest.and_then(|digest| digest.parse().ok()).map_or(Place::Unknown, Place::Manifest)
    };
    Some((repository.to_owned(), place))
}

fn second(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn parse(tags: &str, times: &str, blobs: &str) -> StorageListing {
        let text = format!("100\n= tags\n{tags}\n= times\n{times}\n= blobs\n{blobs}\n= end\n");
        StorageListing::parse(&text).expect("complete")
    }

    #[test]
    fn tags_manifests_and_blobs_are_found_with_their_times_and_sizes() {
        let listing = parse(
            &format!("repositories/my/api/_manifests/tags/v-1/current/link:sha256:{HEX}"),
            &format!(
                "50 repositories/my/api/_manifests/tags/v-1/current/link\n\
                 40 repositories/my/api/_manifests/revisions/sha256/{HEX}/link"
            ),
            &format!("7 blobs/sha256/e3/{HEX}/data"),
        );
        let digest = Digest::of(b"");
        let repository = ListedRepository {
            tags: [("v-1".to_owned(), StoredTag { digest, pushed: at(50) })].into(),
            manifests: [(digest, at(40))].into(),
            unreadable: Vec::new(),
        };
        let repositories = [("my/api".to_owned(), repository)].into();
        assert_eq!(listing, StorageListing { read_at: at(100), repositories, blobs: [(digest, 7)].into() });
    }

    #[test]
    fn a_registry_to_which_nothing_was_pushed_is_empty() {
        let listing = StorageListing::parse("100\n= end\n").expect("complete");
        assert_eq!(listing, StorageListing { read_at: at(100), ..StorageListing::default() });
    }

    #[test]
    fn a_listing_that_was_cut_is_refused() {
        for text in ["", "= end\n", "100\n", "100\n= tags\n= times\n", "100\n= end\n= blobs\n"] {
            StorageListing::parse(text).expect_err(text);
        }
    }

    #[test]
    fn what_may_be_a_tag_or_a_manifest_and_is_not_understood_is_told() {
        let listing = parse(
            "repositories/torn/_manifests/tags/v-1/current/link:sha256:e3b0",
            &format!(
                "50 repositories/torn/_manifests/tags/v-1/current/link\n\
                 50 repositories/empty/_manifests/tags/v-1/current/link\n\
                 50 repositories/odd-tag/_manifests/tags/a b/current/link\n\
                 50 repositories/sha512/_manifests/revisions/sha512/{HEX}{HEX}/link\n\
                 ? repositories/odd-time/_manifests/revisions/sha256/{HEX}/link"
            ),
            "",
        );
        assert_eq!(listing.repositories.len(), 5);
        for (name, repository) in &listing.repositories {
            assert_eq!(repository.unreadable.len(), 1, "{name}");
            assert!(repository.tags.is_empty() && repository.manifests.is_empty(), "{name}");
        }
    }

    #[test]
    fn files_that_are_none_of_the_registry_s_do_no_harm() {
        let listing = parse(
            "Binary file matches\nrepositories/../_manifests/tags/x/current/link:x",
            &format!(
                "50 repositories/UPPER/_manifests/revisions/sha256/{HEX}/link\n\
                 50 lost+found/link\n\
                 a line of a name with a line break"
            ),
            "7 blobs/sha256/e3/short/data\n7 blobs/sha512/e3/x/data\nx",
        );
        assert_eq!(listing, StorageListing { read_at: at(100), ..StorageListing::default() });
    }

    #[test]
    fn a_tag_that_comes_or_goes_between_the_two_looks_is_no_matter() {
        let gone = format!("repositories/a/_manifests/tags/v-1/current/link:sha256:{HEX}");
        let come = "100 repositories/a/_manifests/tags/v-1/current/link";
        assert!(parse(&gone, "", "").repositories.is_empty());
        assert_eq!(parse("", come, "").repositories["a"], ListedRepository::default());
    }
}
