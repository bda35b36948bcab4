#!/bin/sh
# Like the published image: a configuration file means "serve it", a sub-command runs.
set -e
case "$1" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
