# shellcheck shell=dash
# The first process of a build's container: fetches the context from the context service, and gives it to the executor
# as it comes.
#
# $1: the service's address; $2: its port; the others: the executor's arguments
#
# The context goes through two connections. The first brings all but the end, which has the Dockerfile; who can name
# the digest of that, and so has got all of it unchanged, is given the end by the second. What either side says to the
# other it could not say without the build's key, and the key itself never leaves this container. Since the executor
# cannot begin without the Dockerfile, nothing is built of a context that is not whole.

set -u
original_path=$PATH
PATH=/busybox:$PATH
address=$1
port=$2
shift 2
read -r key < /kaniko/context-key/key || exit 1
# The executor leaves all below /kaniko out of the image.
pipe=/kaniko/context-pipe
end=/kaniko/context-end
failed=/kaniko/context-failed
said=/kaniko/context-said

digest() {
    sum=$(sha256sum)
    echo "${sum%% *}"
}

mkfifo "$pipe" || exit 1
# It has other things to do before it reads the context, so it begins now.
(PATH=$original_path exec /kaniko/executor "$@") < "$pipe" &
executor=$!
# Nobody waits for the end of a build that nobody wants any more.
trap 'kill -9 $executor; exit 143' TERM

# $1: "broke off" if the other side has ended the conversation, so that the client looks for the cause on its own side;
# else "did not arrive"; $2: why
fail() {
    echo "garden-build: the build context $1: $2" >&2
    : > "$failed"
    kill -9 "$executor"
    exit 1
}

fail_for_want_of_an_answer() {
    if [ -s "$said" ]; then
        fail "did not arrive" "$(cat "$said")"
    else
        fail "broke off" "the context service at $address port $port closed the connection: it was lost, or what came was not what was sent"
    fi
}

fetch() {
    # Held open, so that the executor does not take a pause for the end.
    exec 3> "$pipe"
    name=$(printf 'pull %s' "$key" | digest)
    got=$(printf 'pull %s\n' "$name" | nc "$address" "$port" 2>> "$said" | tee "$pipe" | digest)
    tail_name=$(printf 'tail %s %s' "$key" "$got" | digest)
    printf 'tail %s %s\n' "$name" "$tail_name" | nc "$address" "$port" 2>> "$said" | {
        read -r proof || fail_for_want_of_an_answer
        cat > "$end"
        of_end=$(digest < "$end")
        [ "$proof" = "$(printf 'good %s %s %s' "$key" "$got" "$of_end" | digest)" ] ||
            fail "broke off" "its end is not what was sent, or the service was lost"
        # One that has no need of it any more has ended, and says itself why.
        cat "$end" > "$pipe" 2> /dev/null
    }
}
fetch &

wait "$executor"
code=$?
if [ -e "$failed" ]; then
    exit 1
fi
read -r image < /dev/termination-log
# Tells the client that all has been said, and how it ended, before the cluster notices: once for each of the two
# streams, as they reach the log by ways of their own.
proof=$(printf 'end %s %s %s' "$key" "$code" "${image:-none}" | digest)
echo "garden-build: end $code ${image:-none} $proof"
echo "garden-build: end $code ${image:-none} $proof" >&2
exit "$code"
