#!/bin/bash
# Puts the newest copy below FOLDER where anvil looks for its state FILE; the node must be down.
set -euo pipefail
folder=$1
file=$2
newest=$(find "$folder" -maxdepth 1 -name '*Z.json' | sort | tail -n 1)
if [ -z "$newest" ]; then
  echo "no copy below $folder: put the backup there first" >&2
  exit 1
fi
cp "$newest" "$file.partial"
mv "$file.partial" "$file"
echo "restored $newest"
