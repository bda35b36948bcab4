#!/bin/sh
# Cargo calls this as rustdoc. What docs.rs shows of features is not stable. RUSTC_BOOTSTRAP is set for rustdoc alone: build scripts look at
# it as well, and everything would be compiled once more.
RUSTC_BOOTSTRAP=1 exec rustdoc "$@"
