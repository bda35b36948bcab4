#!/bin/sh
# Cargo calls this as rustdoc. It makes the pages and, of a library, checks what the pages leave out, and makes the same as JSON beside
# them, for public_types.rs and public_api.rs.
# A stable compiler checks only, and writes JSON, only with RUSTC_BOOTSTRAP. That is set for rustdoc alone: build scripts look at it as well,
# and everything would be compiled once more.
set -e
rustdoc "$@"
case " $* " in
*" --crate-type lib "*)
    export RUSTC_BOOTSTRAP=1
    # Links between private items.
    rustdoc "$@" -Z unstable-options --check --document-private-items
    exec rustdoc "$@" -Z unstable-options --output-format json
    ;;
esac
