//! Sockets and FIFOs: of use to the programs at their two ends, which are not in an image.
//!
//! Builders do not agree on them. `BuildKit`'s client sends a socket as an empty file, and a FIFO as one (fsutil's
//! `stat.go`, `diskwriter.go`). Docker's classic client leaves sockets out, as Go's `archive/tar` does not know them,
//! and sends FIFOs (moby's `go-archive`). kaniko passes over both when it unpacks a context (`ExtractFile` in
//! `pkg/util/fs_util.go`). In all build modes the image is to be the same, so both are left out.
//!
//! Devices are refused: `BuildKit` and Docker make them anew, so whoever has some wants them in the image.
//!
//! Why: docs/decisions/13-sockets-are-left-out.md

use std::sync::{Mutex, PoisonError};

use super::threads::{lock, order};
use crate::context::PathBytes;

/// Sockets and FIFOs of a directory, which are part of no build context.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// The path of the first one.
    pub first: PathBytes,
    /// What it is: `socket` or `FIFO`.
    pub kind: &'static str,
    /// How many there are.
    pub count: usize,
}

/// What several threads leave out.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<Option<LeftOut>>);

impl Leaving {
    pub(super) fn out(&self, path: PathBytes, kind: &'static str) {
        let mut found = lock(&self.0);
        match &mut *found {
            None => *found = Some(LeftOut { first: path, kind, count: 1 }),
            Some(found) => {
                found.count += 1;
                if order(path.as_bytes(), found.first.as_bytes()).is_lt() {
                    (found.first, found.kind) = (path, kind);
                }
            }
        }
    }

    pub(super) fn result(self) -> Option<LeftOut> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
