#!/bin/sh
# Cargo calls this in place of rustc for the crates of this workspace: see xtask/src/fuzz/build.rs. Those that are fuzzed get the flags of
# GARDEN_FUZZ_FLAGS; all else is compiled as always, so that it need not be compiled once more.
# Cargo knows this file by its name only: give it another one when the flags change.
set -eu
rustc=$1
shift
name=
type=
previous=
for argument; do
    case $previous in
    --crate-name) name=$argument ;;
    --crate-type) type=$argument ;;
    esac
    previous=$argument
done
case "$type $name" in
"lib garden_"*)
    # shellcheck disable=SC2086 # They are several.
    exec "$rustc" "$@" $GARDEN_FUZZ_FLAGS
    ;;
esac
exec "$rustc" "$@"
