#!/usr/bin/env bash
# The browser that tests/browser drives: Debian's Chromium, installed where this is run as root.
set -euo pipefail
if [ -n "${DRL_CHROMIUM:-}" ] || command -v chromium >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Chromium is missing: install it (Debian: apt-get install chromium), or set DRL_CHROMIUM to its path" >&2
  exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } >"$log" 2>&1; then
  tail -5 "$log" >&2
  exit 1
fi
