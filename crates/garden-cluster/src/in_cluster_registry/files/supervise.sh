#!/bin/sh
# Runs the registry, and deletes images and collects its garbage when it is asked to.
#
# Blobs may only be collected while nobody pushes. So the registry is stopped, serves read-only during the
# collection, and is stopped and started once more; it also forgets its cache of blobs that way. All this is done
# here, and not by the client that asks: a client that dies leaves nothing behind, and if this container dies, the
# next one starts from the beginning, which is to take pushes.
#
# To have images deleted first, put a list of them, as delete.sh reads it, into $deletions/NAME.list at once, with a
# name that nobody else has. What became of it is in $deletions/NAME.done after the collection, for an hour. The
# registry itself lets nobody delete.
#
# To ask, create $state/requested and send SIGUSR1, which does nothing but wake this script. Then wait for
# $state/result to begin with a higher number than $state/begun had before. Requests that come while a collection
# runs are met by one more after it.

configuration=/etc/garden-registry
state=/run/garden-registry
deletions=$state/deletions
storage=/var/lib/registry/docker/registry/v2

# The identity of this container, as a pod may have several one after the other.
# shellcheck disable=SC3028 # Kubernetes sets HOSTNAME, whatever the shell is.
container="$HOSTNAME-$(date +%s)"
run=0
stopping=
server=
collector=

# Starts the registry with the configuration $1. Each answer then says in its headers by which run of the registry
# it was given, and whether that takes pushes ($2), so that a client whose push has failed can find out why.
serve() {
    run=$((run + 1))
    REGISTRY_HTTP_HEADERS="{X-Content-Type-Options: [nosniff], Garden-Registry-Run: [$container-$run], Garden-Registry-Pushes: [$2]}" \
        registry serve "$configuration/$1" &
    server=$!
    # The signal may have come before there was something to stop.
    [ -z "$stopping" ] || kill -TERM "$server"
}

# Waits for the end of the process $1 and returns its exit status. The shell's own wait also ends at signals.
ended() {
    while :; do
        wait "$1"
        status=$?
        kill -0 "$1" 2>/dev/null || return "$status"
    done
}

stop_server() {
    # It finishes the requests that it has.
    kill -TERM "$server" 2>/dev/null
    ended "$server"
}

# Puts a line into the file $1 at once, so that nobody reads half of it.
write() {
    cat >"$1.new" && mv "$1.new" "$1"
}

# Carries out the list of deletions $1. It is gone before it is begun with, so this happens once, whatever comes
# in between.
delete() {
    mv "$1.list" "$1.begun"
    sh "$configuration/delete.sh" "$storage" "$1.begun" "$configuration/list-storage.sh" >"$1.report" &
    collector=$!
    ended "$collector"
    collector=
    rm -f "$1.begun"
    mv "$1.report" "$1.done"
}

# Removes what clients have left that died: what is older than an hour.
tidy() {
    for file in "$deletions"/*; do
        written=$(stat -c %Y "$file" 2>/dev/null) || continue
        [ "$written" -gt $(($(date +%s) - 3600)) ] || rm -f "$file"
    done
}

collect() {
    # First this, then the number: a request that comes in between gets a collection of its own.
    rm -f "$state/requested"
    number=$((number + 1))
    echo "$number" | write "$state/begun"
    stop_server
    serve read-only.yml refused
    # Where nothing was ever pushed, it misses these.
    mkdir -p "$storage/repositories" "$storage/blobs"
    for list in "$deletions"/*.list; do
        [ -n "$stopping" ] || [ ! -e "$list" ] || delete "${list%.list}"
    done
    tidy
    # Without --delete-untagged: what is untagged may be part of an index, or in use by its digest.
    registry garbage-collect "$configuration/config.yml" >"$state/output" 2>&1 &
    collector=$!
    # The signal may have come before there was something to stop.
    [ -z "$stopping" ] || kill -TERM "$collector"
    ended "$collector"
    collected=$?
    collector=
    stop_server
    { echo "$number $collected"; tail -n 20 "$state/output"; } | write "$state/result"
}

trap : USR1
trap 'stopping=yes; kill -TERM $server $collector 2>/dev/null' TERM

mkdir -p "$deletions"
# What the container before this one had begun with is not begun again.
rm -f "$deletions"/*.begun "$deletions"/*.report
number=$(cat "$state/begun" 2>/dev/null || echo 0)
echo "$number" | write "$state/begun"
finished=0
[ ! -e "$state/result" ] || read -r finished _ <"$state/result"
# The container before this one died while it collected.
[ "$finished" = "$number" ] || echo "$number interrupted" | write "$state/result"

while :; do
    serve config.yml accepted
    status=0
    while kill -0 "$server" 2>/dev/null && [ ! -e "$state/requested" ]; do
        wait "$server"
        status=$?
    done
    # Kubernetes starts the next container after a crash.
    if [ -n "$stopping" ] || [ ! -e "$state/requested" ]; then
        break
    fi
    collect
done
[ -z "$stopping" ] || ended "$server"
exit "$status"
