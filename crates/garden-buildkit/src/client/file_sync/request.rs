use garden_build_core::context::Filter;
use tonic::metadata::MetadataMap;

use super::{Source, SyncError, follow};

/// What the daemon asks for with one call: the metadata of a `DiffCopy` (`session/filesync/filesync.go`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncRequest {
    /// The name of a directory, such as `context` or `dockerfile`.
    pub directory: String,
    /// What of it is wanted.
    pub filter: FilterRequest,
}

/// What of a directory is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FilterRequest {
    /// Patterns of what is wanted; without any, everything.
    pub include: Vec<String>,
    /// Patterns of what is not wanted, which are the lines of the ignore file.
    pub exclude: Vec<String>,
    /// Paths that are wanted along with what is reached through links in them.
    pub follow: Vec<String>,
}

impl SyncRequest {
    /// Reads the metadata of a call.
    ///
    /// # Errors
    /// If a value cannot be decoded.
    pub fn from_metadata(metadata: &MetadataMap) -> Result<Self, SyncError> {
        let directory = values(metadata, "dir-name")?.into_iter().next().unwrap_or_default();
        let filter = FilterRequest {
            include: values(metadata, "include-patterns")?,
            exclude: values(metadata, "exclude-patterns")?,
            follow: values(metadata, "followpaths")?,
        };
        Ok(Self { directory, filter })
    }
}

impl FilterRequest {
    /// Makes a filter for `source` (`NewFilterFS` in fsutil's `filter.go`).
    ///
    /// # Errors
    /// If a pattern is malformed, or links of the source cannot be read.
    pub fn compile(&self, source: &dyn Source) -> Result<Filter, SyncError> {
        let mut include = self.include.clone();
        if !self.follow.is_empty()
            && let Some(reached) = follow::follow(source, &self.follow)?
        {
            include.extend(reached);
            include = follow::without_nested(include).unwrap_or_default();
        }
        Ok(Filter::new(&include, &self.exclude)?)
    }
}

/// Returns all values of `key`. If one of them has more than ASCII characters, all are escaped as in the
/// query of a URL, and `<key>-encoded` says so.
fn values(metadata: &MetadataMap, key: &str) -> Result<Vec<String>, SyncError> {
    let is_encoded = metadata.get(format!("{key}-encoded")).is_some_and(|value| is_true(value.as_bytes()));
    let values = metadata.get_all(key).iter().map(|value| {
        let bytes = value.as_bytes();
        let decoded = if is_encoded { unescape(bytes) } else { Some(bytes.to_vec()) };
        decoded
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| SyncError::Request(format!("`{key}` is not text: {value:?}")))
    });
    values.collect()
}

/// Go's `strconv.ParseBool`.
fn is_true(value: &[u8]) -> bool {
    [&b"1"[..], b"t", b"T", b"true", b"TRUE", b"True"].contains(&value)
}

/// Go's `url.QueryUnescape`; `None` if an escape is not complete.
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = value.iter();
    let mut result = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        result.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => *other,
        });
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&'static str, &'static str)]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for (key, value) in pairs {
            metadata.append(*key, value.parse().expect("value"));
        }
        metadata
    }

    #[test]
    fn reads_repeated_values_in_their_order() {
        let request = SyncRequest::from_metadata(&metadata(&[
            ("dir-name", "context"),
            ("exclude-patterns", "*"),
            ("exclude-patterns", "!a+b%"),
            ("followpaths", "src"),
        ]));
        let filter = FilterRequest {
            include: vec![],
            exclude: vec!["*".to_owned(), "!a+b%".to_owned()],
            follow: vec!["src".to_owned()],
        };
        assert_eq!(request.expect("request"), SyncRequest { directory: "context".to_owned(), filter });
        assert_eq!(SyncRequest::from_metadata(&metadata(&[])).expect("request"), SyncRequest::default());
    }

    #[test]
    fn unescapes_values_that_are_marked_as_escaped() {
        let marked = [("include-patterns", "gr%C3%BCn+x%2Fy"), ("include-patterns-encoded", "1")];
        let request = SyncRequest::from_metadata(&metadata(&marked)).expect("request");
        assert_eq!(request.filter.include, ["grün x/y"]);
        let unmarked = [("include-patterns", "a+b"), ("include-patterns-encoded", "0")];
        let request = SyncRequest::from_metadata(&metadata(&unmarked)).expect("request");
        assert_eq!(request.filter.include, ["a+b"]);
        for bad in ["%", "%4", "%zz", "%FF"] {
            let pairs = [("followpaths", bad), ("followpaths-encoded", "true")];
            let error = SyncRequest::from_metadata(&metadata(&pairs)).expect_err(bad).to_string();
            assert!(error.contains("`followpaths` is not text"), "{error}");
        }
    }
}
