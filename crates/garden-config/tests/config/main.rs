//! Project files from outside: what they give, and what is said of wrong ones.

mod builds;
mod cluster_buildkit;
#[cfg(unix)]
mod confined;
mod corpus;
mod fields;
mod guide;
mod hostile;
mod project;
mod publishing;
mod rendering;
mod round_trip;
mod schema;
mod services;
mod support;
mod templates;
mod values;
mod whole;
