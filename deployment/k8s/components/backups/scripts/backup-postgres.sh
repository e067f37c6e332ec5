#!/bin/bash
# Dumps each database into FOLDER/DATE, whole or not at all, and keeps the newest two weeks.
set -euo pipefail
folder=$1
stamp=$(date -u +%Y-%m-%dT%H-%M-%SZ)
mkdir -p "$folder"
rm -rf "$folder"/*.partial
mkdir "$folder/$stamp.partial"
for database in airflow mlflow drl; do
  pg_dump --format=custom --dbname="$database" --file="$folder/$stamp.partial/$database.dump"
done
mv "$folder/$stamp.partial" "$folder/$stamp"
mapfile -t kept < <(find "$folder" -mindepth 1 -maxdepth 1 -type d -name '*Z' | sort)
for old in "${kept[@]:0:$((${#kept[@]} > 14 ? ${#kept[@]} - 14 : 0))}"; do
  rm -rf "$old"
done
echo "saved $folder/$stamp"
