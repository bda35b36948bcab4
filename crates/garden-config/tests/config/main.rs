//! Project files from outside: what they give, and what is said of wrong ones.

mod cluster_buildkit;
mod fields;
mod guide;
mod project;
mod support;
