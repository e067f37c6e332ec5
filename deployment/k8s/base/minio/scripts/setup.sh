#!/bin/sh
# Runs each script given until it succeeds, then waits for the pod's end.
set -eu
for script in "$@"; do
  until python "$script"; do
    sleep 2
  done
done
touch /tmp/done
trap 'exit 0' TERM
sleep infinity &
wait
