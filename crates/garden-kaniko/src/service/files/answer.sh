# shellcheck shell=dash
# Answers one connection to the port of the context service, which is its standard input and output.
#
# It is told one line: `pull NAME` or `tail NAME …`. A name is 64 hexadecimal digits that only the build's pod can
# know, and is good for one connection of each kind. Whoever says anything else is told nothing. What is done for who
# knows a name is up to the session that has announced it, so that it always fits the client's version.

PATH=/busybox:$PATH
cd /garden/run || exit 1

# A shell of busybox knows `-t`.
# shellcheck disable=SC3045
read -r -t 10 verb name rest || exit 1
case $name in *[!0-9a-f]* | '') exit 1 ;; esac
[ ${#name} -eq 64 ] || exit 1
case $verb in
    pull) from=announced to=claimed ;;
    tail) from=claimed to=finished ;;
    *) exit 1 ;;
esac
# Of any number of connections, one can do this.
mv "$from/$name" "$to/" 2> /dev/null || exit 1
read -r session < "$to/$name" || exit 1
cd "sessions/$session" || exit 1
exec sh ./deliver "$verb" "$rest"
