// Why: docs/decisions/19-flags-say-what-they-read.md

/// A flag of a builder that can change the image, with what the builder may read because of it.
///
/// The words are part of the image's [`Version`](crate::Version). What may be read decides whether the parts of the context
/// that no instruction of the Dockerfile reads can be left out: a single flag that may read more keeps all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ImageFlag {
    /// The flag as the builder is given it: one word such as `--compression=zstd`, or the flag and its value.
    pub words: Vec<String>,
    /// Whether the flag may make the builder read more of the context than the Dockerfile shows.
    pub may_read_more: bool,
}

impl ImageFlag {
    /// A flag that may make the builder read more of the context: it does, or nobody knows.
    pub fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), may_read_more: true }
    }

    /// A flag with which the builder reads of the context what the Dockerfile says and nothing more.
    pub fn reading_no_more(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { may_read_more: false, ..Self::new(words) }
    }
}
