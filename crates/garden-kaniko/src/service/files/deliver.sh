# shellcheck shell=dash
# Gives a build's pod what its session has for it. The pod is at the other end of standard input and output.
#
# $1: `pull`, for the context; or `tail`, for its end
# $2: for `tail`, the name that only who has the right context can know
#
# Runs in the session's directory. A session that has gone, however it went, is one end of its pipes less: then
# nothing more is given.

set -u

# Opens a pipe of the session's for reading, as descriptor 4. Opened for both first, because to open it for reading
# alone waits for somebody who writes, and there may be nobody any more.
open() {
    # shellcheck disable=SC2094 # A pipe is meant to be both.
    exec 3<> "$1" 4< "$1" 3<&-
}

tell() {
    exec 5<> events
    echo "$1" >&5
    exec 5>&-
}

case $1 in
    pull)
        tell pulling
        open go
        read -r _ <&4 || exit 1
        while read -r pack offset length; do
            dd if="../../../packs/v1/$pack.pack" bs=65536 skip="$offset" count="$length" \
                iflag=skip_bytes,count_bytes,fullblock 2> /dev/null || exit 1
        done < rope
        ;;
    tail)
        open ready
        read -r name <&4 || exit 1
        if [ "$2" != "$name" ]; then
            tell mismatch
            exit 1
        fi
        cat proof tail && tell delivered
        ;;
esac
