# shellcheck shell=dash
# One build's conversation with the context service. Lines, and bytes that are counted, come in and go out; the module
# `session` of the client says which. It ends with its input, and leaves nothing.

set -u
PATH=/busybox:$PATH
cd /garden || exit 1
store=packs/v1

# How long a pack is kept that nobody uses, and how many there may be.
longest_days=7
most_packs=400
# How much the packs may take, in KiB.
most_space=$((${GARDEN_CACHE_MIB:-10240} * 1024))

# The processes of this container come and go, and their numbers come again; with its start a number is unique.
start_of() {
    cut -d' ' -f22 "/proc/$1/stat" 2> /dev/null
}
me=$$.$(start_of $$)
mine=run/sessions/$me
upload=$store/.upload.$me
# What has been looked at since this container began.
checked=run/checked.$(start_of 1)
mkdir -p "$store" "$checked" run/announced run/claimed run/sessions run/uses || exit 1

remove() {
    if read -r name < "run/sessions/$1/name"; then
        rm -f "run/announced/$name" "run/claimed/$name"
    fi 2> /dev/null
    rm -rf "run/uses/$1" "run/sessions/$1" "$store/.upload.$1" "$store/.upload.$1.index" "$store/.dropped.$1".* 2> /dev/null
}

ended() {
    trap - EXIT
    # One that reads a pipe of ours ends when nobody can write into it any more.
    remove "$me"
    exit
}
trap ended EXIT HUP INT PIPE TERM

# Removes what belongs to a session that runs no more.
for left in run/sessions/* run/uses/* "$store"/.upload.* "$store"/.dropped.*; do
    [ -e "$left" ] || continue
    left=${left##*/}
    left=${left#.upload.}
    left=${left#.dropped.}
    start=${left#*.}
    start=${start%%.*}
    [ "$(start_of "${left%%.*}")" = "$start" ] || remove "${left%%.*}.$start"
done

mkdir -p "$mine" "run/uses/$me" || exit 1
mkfifo "$mine/go" "$mine/events" || exit 1
# Held open for both, which waits for nobody; as long as we live, who reads them waits.
exec 6<> "$mine/go" 7<> "$mine/events"

# Takes exactly $1 bytes of the input.
take() {
    [ "$1" -eq 0 ] || dd bs=65536 count="$1" iflag=count_bytes,fullblock 2> /dev/null
}

# Keeps exactly $1 bytes of the input as the file $2. A full disk ends nothing here: they are taken to their end, so that what
# comes after them is understood.
keep_input() {
    take "$1" | tee "$2" > /dev/null 2>&1 && [ "$(stat -c %s "$2")" = "$1" ]
}

# Names all packs, those used last first: when, bytes, name.
packs() {
    (cd "$store" && stat -c '%Y %s %n' -- *.pack 2> /dev/null) | sort -rn
}

is_used() {
    set -- run/uses/*/"$1"
    [ -e "$1" ]
}

# Drops a pack, unless a build needs it. A build marks what it needs and then looks whether it is there; here it is
# taken away first and then looked for marks, so one of the two always notices.
drop() {
    mv "$store/$1.pack" "$store/.dropped.$me.$1" 2> /dev/null || return 1
    if is_used "$1"; then
        mv "$store/.dropped.$me.$1" "$store/$1.pack"
        return 1
    fi
    rm -f "$store/.dropped.$me.$1" "$store/$1.index" "$checked/$1"
}

# Says which packs there are, after what is too old, too many or too much is dropped.
inventory() {
    oldest=$(($(date +%s) - longest_days * 86400))
    count=0
    space=0
    packs | {
        while read -r used bytes name; do
            name=${name%.pack}
            count=$((count + 1))
            space=$((space + bytes / 1024))
            if [ "$used" -lt "$oldest" ] || [ "$count" -gt "$most_packs" ] || [ "$space" -gt "$most_space" ]; then
                drop "$name" && continue
            fi
            echo "pack $name $bytes"
        done
        echo end
    }
}

# Makes room for $1 KiB, if dropping packs can.
make_room() {
    space=$(packs | { sum=0; while read -r _ bytes _; do sum=$((sum + bytes / 1024)); done; echo "$sum"; })
    packs | sort -n | while read -r _ bytes name; do
        free=$(df -Pk "$store" | { read -r _; read -r _ _ _ free _; echo "$free"; })
        [ "$free" -lt "$1" ] || [ $((space + $1)) -gt "$most_space" ] || break
        drop "${name%.pack}" && space=$((space - bytes / 1024))
    done
}

# Takes a new pack: chunks, then its sum and size, and its index. $1: how many KiB it may have.
receive() {
    make_room "$1"
    # A full disk ends nothing, as in keep_input.
    sum=$({
        while read -r word bytes && [ "$word" = chunk ]; do
            take "$bytes"
        done
    } | { tee "$upload" 2> /dev/null || : > "$mine/full"; } | sha256sum)
    read -r _ name bytes index || exit 1
    keep_input "$index" "$upload.index" || : > "$mine/full"
    if [ -e "$mine/full" ]; then
        is_full
        return
    fi
    keep "${sum%% *}" "$name" "$bytes"
}

# Says that there is no room for the upload.
is_full() {
    rm -f "$upload" "$upload.index" "$mine/full"
    echo full
}

# Gives the upload its place, if it is what it should be. $1: its sum; $2: its name; $3: its size
keep() {
    if [ "$1" != "$2" ] || [ "$(stat -c %s "$upload")" != "$3" ]; then
        rm -f "$upload" "$upload.index"
        echo broken
        return
    fi
    : > "run/uses/$me/$2"
    # The index first: what has a name is whole.
    mv "$upload.index" "$store/$2.index" && mv "$upload" "$store/$2.pack" || exit 1
    : > "$checked/$2"
    echo "stored $2"
}

# Whether a pack is there and, since nothing waits for the disk when it is stored, still has its digest. Looked at
# once in the life of this container.
is_sound() {
    [ -e "$store/$1.pack" ] || return 1
    touch "$store/$1.pack"
    [ -e "$checked/$1" ] && return
    if [ "$(sha256sum < "$store/$1.pack")" = "$1  -" ]; then
        : > "$checked/$1"
        return
    fi
    rm -f "$store/$1.pack" "$store/$1.index"
    return 1
}

# Writes the context.
assemble() {
    while read -r pack offset length; do
        dd if="$store/$pack.pack" bs=65536 skip="$offset" count="$length" \
            iflag=skip_bytes,count_bytes,fullblock 2> /dev/null || exit 1
    done < "$mine/rope"
}

# Takes the list of what the context is made of: $1 lines, each a pack, an offset and a length.
rope() {
    lines=0
    full=
    while [ "$lines" -lt "$1" ]; do
        read -r line || exit 1
        echo "$line" || full=yes
        lines=$((lines + 1))
    done > "$mine/rope" 2> /dev/null
    if [ -n "$full" ]; then
        echo full
        return
    fi
    last=
    while read -r pack offset length; do
        [ "$pack" = "$last" ] || : > "run/uses/$me/$pack"
        if [ "$pack" != "$last" ] && ! is_sound "$pack" ||
            [ "$(stat -c %s "$store/$pack.pack")" -lt $((offset + length)) ]; then
            echo "gone $pack"
            return
        fi
        last=$pack
    done < "$mine/rope"
    # From here on, all answers are lines, so what happens to the pod's connections can be told between them. Whoever
    # tells it must not keep our pipes open.
    (exec 4< "$mine/events" 6>&- 7>&- && while read -r event <&4; do echo "$event"; done) < /dev/null &
    echo going
}

# Takes what the pod is given before and after the ranges, and lets it have all. $1, $2: their sizes
hand_over() {
    if keep_input "$1" "$mine/start" && keep_input "$2" "$mine/end"; then
        echo go >&6
    else
        # The end may not have been taken. Nothing else can be done for this build.
        echo full
        exit 1
    fi
}

# Stores the context in one pack, as it has too many parts. $1: its sum; $2: its size; $3: the size of its index
join() {
    keep_input "$3" "$upload.index" || : > "$mine/full"
    make_room $(($2 / 1024))
    sum=$(assemble | { tee "$upload" 2> /dev/null || : > "$mine/full"; } | sha256sum)
    if [ -e "$mine/full" ]; then
        is_full
        return
    fi
    keep "${sum%% *}" "$1" "$2"
}

while read -r word one two three; do
    case $word in
        announce)
            # What gives the pod its context comes with its name: deliver.sh.
            if keep_input "$two" "$mine/deliver" && echo "$one" > "$mine/name" && echo "$me" > "$mine/announced"; then
                mv "$mine/announced" "run/announced/$one" || exit 1
                echo announced
            else
                echo full
            fi
            ;;
        inventory) inventory ;;
        index)
            if [ -e "$store/$one.index" ]; then
                : > "run/uses/$me/$one"
                echo "index $(stat -c %s "$store/$one.index")"
                cat "$store/$one.index"
            else
                echo "gone $one"
            fi
            ;;
        store) receive "$one" ;;
        rope) rope "$one" ;;
        hand-over) hand_over "$one" "$two" ;;
        sum)
            sum=$(assemble | sha256sum)
            echo "sum ${sum%% *}"
            ;;
        join) join "$one" "$two" "$three" ;;
        ping) echo pong ;;
        *) exit 1 ;;
    esac
done
