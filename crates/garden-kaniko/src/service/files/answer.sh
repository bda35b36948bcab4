# shellcheck shell=dash
# Answers one connection to the port of the context service, which is its standard input and output.
#
# It is told one line: `pull NAME`. A name is 64 hexadecimal digits that only the build's pod can know, and is good for one
# connection. Whoever says anything else is told nothing. What is done for who knows a name is up to the session that has
# announced it, so that it always fits the client's version.

PATH=/busybox:$PATH
cd /garden/run || exit 1

# A shell of busybox knows `-t`.
# shellcheck disable=SC3045
read -r -t 10 verb name _ || exit 1
[ "$verb" = pull ] || exit 1
case $name in *[!0-9a-f]* | '') exit 1 ;; esac
[ ${#name} -eq 64 ] || exit 1
# Of any number of connections, one can do this.
mv "announced/$name" claimed/ 2> /dev/null || exit 1
read -r session < "claimed/$name" || exit 1
cd "sessions/$session" || exit 1
exec sh ./deliver
