# shellcheck shell=dash
# The first process of a build's container: fetches the context from the context service, and gives it to the executor
# as it comes.
#
# $1: the service's address; $2: its port; the others: the executor's arguments
#
# Nothing that the service says is believed: whoever may run commands in its pod can say it. What comes is a list, signed with
# the build's key, of what each part of the context has to be, and then the parts. The executor is given a part when it was
# seen to be that. The last one has the Dockerfile, and since the executor cannot begin without, nothing is built of a
# context that is not whole. The key itself never leaves this container.

set -u
original_path=$PATH
PATH=/busybox:$PATH
address=$1
port=$2
shift 2
read -r key < /kaniko/context-key/key || exit 1
# The executor leaves all below /kaniko out of the image.
pipe=/kaniko/context-pipe
list=/kaniko/context-parts
part=/kaniko/context-part
failed=/kaniko/context-failed
said=/kaniko/context-said

digest() {
    sum=$(sha256sum)
    echo "${sum%% *}"
}

# Takes exactly $1 bytes of the input.
take() {
    dd bs=65536 count="$1" iflag=count_bytes,fullblock 2> /dev/null
}

mkfifo "$pipe" || exit 1
# It has other things to do before it reads the context, so it begins now.
(PATH=$original_path exec /kaniko/executor "$@") < "$pipe" &
executor=$!
# Nobody waits for the end of a build that nobody wants any more.
trap 'kill -9 $executor; exit 143' TERM

# $1: "broke off" if the other side has ended the conversation, so that the client looks for the cause on its own side;
# "was altered" if somebody has changed what the service gives; else "did not arrive"; $2: why
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
        fail "broke off" "the context service at $address port $port closed the connection: it was lost, or has nothing to give"
    fi
}

fail_for_want_of_room() {
    fail "did not arrive" "this pod's disk has no room for it"
}

# Takes the list from the input: seven digits for its size, what proves it, and then itself.
take_list() {
    head=$(take 73)
    [ -n "$head" ] || fail_for_want_of_an_answer
    size=${head%% *}
    case $size in *[!0-9]* | ????????*) fail "was altered" "it begins with what no client has sent" ;; esac
    take "$size" > "$list" || fail_for_want_of_room
    [ "$(stat -c %s "$list")" -eq "$size" ] || fail_for_want_of_an_answer
    [ "${head##* }" = "$(printf 'parts %s %s' "$key" "$(digest < "$list")" | digest)" ] ||
        fail "was altered" "the list of its parts is not the client's"
}

# Takes a part as the file $1. $2: its size; $3: what is digested, `stored` for its bytes and `plain` for what they are when
# decompressed; $4: the digest; $5: its number
take_part() {
    take "$2" > "$1" || fail_for_want_of_room
    [ "$(stat -c %s "$1")" -eq "$2" ] || fail_for_want_of_an_answer
    case $3 in
        stored) is=$(digest < "$1") ;;
        plain) is=$(gunzip -c < "$1" 2> /dev/null | digest) ;;
    esac
    [ "$is" = "$4" ] || fail "was altered" "part $5 is not what the client has"
}

fetch() {
    # Held open, so that the executor does not take a pause for the end.
    exec 3> "$pipe"
    name=$(printf 'pull %s' "$key" | digest)
    printf 'pull %s\n' "$name" | nc "$address" "$port" 2>> "$said" | {
        take_list
        number=0
        giving=
        while read -r size kind wanted <&4; do
            number=$((number + 1))
            # The executor reads one of the two while the next comes.
            this=$part.$((number % 2))
            take_part "$this" "$size" "$kind" "$wanted" "$number"
            [ -z "$giving" ] || wait "$giving"
            # An executor that has no need of it any more has ended, and says itself why.
            cat "$this" >&3 2> /dev/null &
            giving=$!
        done 4< "$list"
        wait "$giving"
        rm -f "$list" "$part".*
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
