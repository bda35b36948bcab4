//! The sender of files against `BuildKit`'s own receiver, and against what its own client would send.

mod conformance;
mod failures;
mod filters;
mod grpc;
mod incremental;
mod receiver;
mod throughput;
mod tree;
