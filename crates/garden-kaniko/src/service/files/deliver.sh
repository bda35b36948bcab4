# shellcheck shell=dash
# Gives a build's pod the context that its session has for it. The pod is at the other end of standard input and output.
#
# Runs in the session's directory. A session that has gone, however it went, is one end of its pipes less: then
# nothing more is given.

set -u

tell() {
    exec 5<> events
    echo "$1" >&5
    exec 5>&-
}

tell pulling
# Opened for both first, because to open a pipe for reading alone waits for somebody who writes, and there may be nobody
# any more.
# shellcheck disable=SC2094 # A pipe is meant to be both.
exec 3<> go 4< go 3<&-
read -r _ <&4 || exit 1
cat start || exit 1
while read -r pack offset length; do
    dd if="../../../packs/v1/$pack.pack" bs=65536 skip="$offset" count="$length" \
        iflag=skip_bytes,count_bytes,fullblock 2> /dev/null || exit 1
done < rope
cat end && tell delivered
