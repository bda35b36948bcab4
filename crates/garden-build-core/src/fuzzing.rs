//! What the fuzz targets of this crate run; see `fuzz` at the top of the repository.

pub use crate::context::dockerfile::fuzzing::dockerfile;
pub use crate::context::select::fuzzing::{git_ignore, ignore_patterns};
pub use crate::reference::fuzzing::image_reference;
