#!/bin/sh
# Arguments that start with a dash are the server's; like the official image, no protected mode.
set -eu
case ${1:-} in -*) set -- redis-server "$@" ;; esac
[ "$1" = redis-server ] && set -- "$@" --protected-mode no
exec "$@"
