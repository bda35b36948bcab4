# shellcheck shell=dash
# Deletes manifests from the storage of a registry of the distribution project, $1, usually
# /var/lib/registry/docker/registry/v2, as a DELETE of each by its digest would. $2 is the list of them, and $3 is
# list_storage.sh. Nobody may push meanwhile.
#
# The list begins with the second at which the storage was listed that it was made from. Then it has a line for each
# manifest: REPOSITORY HEX SECOND-OF-ITS-LAST-PUSH [tag:TAG]... [after:HEX]..., with all of its tags, and with the
# manifests of the list that refer to it. A manifest that has changed since is kept, and with it what refers to it and
# what it refers to. Prints what becomes of each line, by its number, and at last that this was all.
#
# Needs awk, and what list_storage.sh needs, as BusyBox has them.
set -f
export LC_ALL=C
storage=$1
list=$2
list_storage=$3

# What is in use was true when the list was made. It has waited if the registry had much to do.
if [ "$(stat -c %Y "$list")" -lt $(($(date +%s) - 900)) ]; then
    echo '= expired'
    exit
fi
read -r since <"$list" || exit
case $since in '' | *[!0-9]*) exit ;; esac
cd "$storage" || exit

# Without all of the listing nothing is decided.
{ sh "$list_storage" "$storage" && echo '= list' && tail -n +2 "$list"; } | awk -v since="$since" '
    function is_hex(text) { return length(text) == 64 && text ~ /^[0-9a-f]+$/ }

    # Nothing that leads out of the storage.
    function is_valid(    field) {
        if ($1 !~ /^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/ || !is_hex($2)) return 0
        for (field = 4; field <= NF; field++)
            if (!($field ~ /^tag:[A-Za-z0-9_][A-Za-z0-9_.-]*$/ && length($field) <= 132) &&
                !($field ~ /^after:/ && is_hex(substr($field, 7)))) return 0
        return 1
    }

    # Remembers what a manifest refers to.
    function read_manifest(repository, hex,    file, line) {
        file = "blobs/sha256/" substr(hex, 1, 2) "/" hex "/data"
        while ((getline line < file) > 0)
            while (match(line, /sha256:[0-9a-f]+/)) {
                named[repository, substr(line, RSTART + 7, RLENGTH - 7)]
                line = substr(line, RSTART + RLENGTH)
            }
        close(file)
    }

    # Judges the manifest of a line by itself.
    function judge(    field, tag, known, now, count) {
        if (!is_valid()) return "invalid"
        if (!(($1, $2) in pushed)) return "gone"
        if ($1 in unreadable) return "unreadable"
        for (field = 4; field <= NF; field++)
            if ($field ~ /^tag:/) {
                tag = substr($field, 5)
                known[tag]
                if (($1, tag) in leads && leads[$1, tag] != $2) return "moved " tag
            }
        count = split(tags[$1, $2], now, " ")
        for (field = 1; field <= count; field++)
            if (!(now[field] in known)) return "tagged " now[field]
        if (pushed[$1, $2] != $3) return "pushed"
        if (($1, $2) in named) return "named"
        return "delete"
    }

    # Keeps what belongs to the manifest of line i, if that is what these neighbours are.
    function keep(i, neighbours,    each, count, field, j) {
        count = split(neighbours, each, " ")
        for (field = 1; field <= count; field++) {
            j = line_of[repository_of[i], each[field]]
            if (j && verdict[j] == "delete") {
                verdict[j] = "needed " hex_of[i]
                kept[++top] = j
            }
        }
    }

    section != "list" && /^= / { section = substr($0, 3); next }

    # repositories/NAME/_manifests/tags/TAG/current/link:sha256:HEX
    section == "tags" && (at = index($0, "/current/link:sha256:")) {
        content[substr($0, 1, at + 12)] = substr($0, at + 21)
    }

    # SECOND repositories/NAME/_manifests/..., of which each tag is TAG/current/link, and each manifest HEX/link.
    section == "times" && (at = index($0, " repositories/")) {
        path = substr($0, at + 1)
        end = index(path, "/_manifests/")
        repository = substr(path, 14, end - 14)
        rest = substr(path, end + 12)
        if (rest ~ /^tags\/[^\/]+\/current\/link$/) {
            tag = substr(rest, 6, length(rest) - 18)
            hex = content[path]
            if (is_hex(hex)) {
                leads[repository, tag] = hex
                tags[repository, hex] = tags[repository, hex] " " tag
            } else unreadable[repository]
        } else if (rest ~ /^revisions\/sha256\/[0-9a-f]+\/link$/) {
            hex = substr(rest, 18, length(rest) - 22)
            pushed[repository, hex] = substr($0, 1, at - 1)
            if (pushed[repository, hex] + 0 >= since + 0) unknown[repository, hex]
        } else unreadable[repository]
    }

    # Seconds are not exact: whoever made the list may know what was pushed in the same one.
    section == "list" {
        text_of[++lines] = $0
        if (($1, $2) in pushed && pushed[$1, $2] == $3) delete unknown[$1, $2]
    }

    END {
        if (section != "list") exit
        for (key in unknown) {
            split(key, part, SUBSEP)
            read_manifest(part[1], part[2])
        }
        for (i = 1; i <= lines; i++) {
            $0 = text_of[i]
            verdict[i] = judge()
            repository_of[i] = $1
            hex_of[i] = $2
            line_of[$1, $2] = i
            for (field = 4; field <= NF; field++)
                if ($field ~ /^tag:/) tags_of[i] = tags_of[i] " " substr($field, 5)
                else after[i] = after[i] " " substr($field, 7)
            if (verdict[i] != "delete" && verdict[i] != "gone") kept[++top] = i
        }
        for (i = 1; i <= lines; i++) {
            count = split(after[i], others, " ")
            for (field = 1; field <= count; field++) {
                j = line_of[repository_of[i], others[field]]
                if (j) before[j] = before[j] " " hex_of[i]
            }
        }
        while (top > 0) {
            i = kept[top--]
            keep(i, after[i])
            keep(i, before[i])
        }
        for (i = 1; i <= lines; i++)
            if (verdict[i] == "delete") print i, "delete", repository_of[i], hex_of[i] tags_of[i]
            else print i, verdict[i]
        print "= end"
    }' | while read -r number verdict repository hex tags; do
    if [ "$verdict" != delete ]; then
        echo "$number $verdict${repository:+ $repository}"
        continue
    fi
    manifests=repositories/$repository/_manifests
    set --
    for tag in $tags; do
        set -- "$@" "$manifests/tags/$tag"
    done
    # The tags first, so that none ever stands for what is gone.
    if why=$(rm -rf "$@" "$manifests/revisions/sha256/$hex" 2>&1); then
        echo "$number deleted"
    else
        # Something is wrong with the volume, so it is not tried over and over.
        echo "$number failed $(echo "$why" | head -n 1)"
        break
    fi
done
