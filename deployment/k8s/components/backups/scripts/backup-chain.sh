#!/bin/bash
# Copies anvil's state FILE into FOLDER under the time's name, if it is whole, and keeps the newest 48.
# anvil rewrites the file in place every second, so a copy may be cut off; the next try is not.
set -euo pipefail
file=$1
folder=$2
stamp=$(date -u +%Y-%m-%dT%H-%M-%SZ)
mkdir -p "$folder"
for _ in 1 2 3; do
  cp "$file" "$folder/partial"
  if cmp -s "$file" "$folder/partial" && [ "$(tail -c 1 "$folder/partial")" = "}" ]; then
    mv "$folder/partial" "$folder/$stamp.json"
    mapfile -t kept < <(find "$folder" -maxdepth 1 -name '*Z.json' | sort)
    for old in "${kept[@]:0:$((${#kept[@]} > 48 ? ${#kept[@]} - 48 : 0))}"; do
      rm -f "$old"
    done
    echo "saved $folder/$stamp.json"
    exit 0
  fi
  sleep 1.3
done
echo "$file was being written at each of three looks" >&2
exit 1
