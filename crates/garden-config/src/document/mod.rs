//! From text to a tree in which each key and value knows where it stands, and from there to typed fields;
//! and what is said of the places where something is wrong.

pub(crate) mod decode;
pub(crate) mod ellipsis;
pub(crate) mod globs;
pub(crate) mod indicators;
pub(crate) mod issue;
pub(crate) mod node;
pub(crate) mod normalized;
mod number;
pub(crate) mod placeholder;
pub(crate) mod printable;
pub(crate) mod problem;
pub(crate) mod problems;
pub(crate) mod snippet;
pub(crate) mod suggest;
pub(crate) mod write;
pub(crate) mod yaml;
