# shellcheck shell=dash
# The first process of the context service's container.
#
# $1: the port
# $2: what answers a connection: answer.sh
#
# /garden/packs is the cache, which may outlive the pod; /garden/run is what goes on now. What former containers have left in
# there, the sessions of builds remove.

set -u
PATH=/busybox:$PATH
cd /garden || exit 1

mkdir -p run/announced run/claimed || exit 1
printf '%s\n' "$2" > run/answer || exit 1

# The first process of a container has no default action for SIGTERM. Nobody is told to wait for: a build that has
# not got its context yet begins again.
trap 'exit 0' TERM
# In the background, so that the shell hears the signal, and reaps what commands in the container leave behind.
nc -ll -p "$1" -e sh run/answer &
wait $!
exit 1
