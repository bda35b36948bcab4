#!/bin/sh
# Cargo calls this as rustdoc. It makes the pages and, of a library, the same as JSON beside them, for public_types.rs.
# A stable compiler writes JSON only with RUSTC_BOOTSTRAP. That is set for rustdoc alone: build scripts look at it as well,
# and everything would be compiled once more.
set -e
rustdoc "$@"
case " $* " in
*" --crate-type lib "*) RUSTC_BOOTSTRAP=1 exec rustdoc "$@" -Z unstable-options --output-format json ;;
esac
