#!/bin/sh
# Prints every page once, in the order of the index.
set -eu
directory=$1
while read -r page; do
    echo "--- $page"
    cat "$directory/$page"
done < "$directory/INDEX"
