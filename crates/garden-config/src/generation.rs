/// For which Garden a project is written, as its `apiVersion` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Generation {
    /// `garden.io/v0`, and no version: Garden 0.12, and the guide.
    #[default]
    V0,
    /// `garden.io/v1`: Garden 0.13.
    V1,
    /// `garden.io/v2`: Garden 0.14.
    V2,
}
