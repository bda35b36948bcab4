# shellcheck shell=dash
# Lists what a registry of the distribution project keeps on a file system in $1, usually
# /var/lib/registry/docker/registry/v2: repositories and blobs, tags and manifests, and when they were pushed.
#
# Needs find, grep and stat as BusyBox has them. Fails if a file vanishes on the way; then it has to be run again.
set -e
date +%s
if [ -d "$1" ]; then
    cd "$1"
    if [ -d repositories ]; then
        # First what tags stand for, then when that was so: what is pushed in between is then seen as new. If a tag
        # cannot be read, only its time is listed.
        echo '= tags'
        find repositories \( -name _layers -o -name _uploads \) -prune -o \
            -type f -path '*/_manifests/tags/*/current/link' -exec grep -H '' {} + || true
        echo '= times'
        find repositories \( -name _layers -o -name _uploads \) -prune -o \
            -type f \( -path '*/_manifests/tags/*/current/link' -o -path '*/_manifests/revisions/*/link' \) \
            -exec stat -c '%Y %n' {} +
    fi
    if [ -d blobs ]; then
        echo '= blobs'
        find blobs -type f -name data -exec stat -c '%s %n' {} +
    fi
fi
echo '= end'
