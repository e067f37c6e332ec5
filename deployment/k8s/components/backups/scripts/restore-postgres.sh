#!/bin/bash
# Restores the newest dump below FOLDER into the databases that the server made at its first start.
set -euo pipefail
folder=$1
newest=$(find "$folder" -mindepth 1 -maxdepth 1 -type d -name '*Z' | sort | tail -n 1)
if [ -z "$newest" ]; then
  echo "no dump below $folder: put the backup there first" >&2
  exit 1
fi
until pg_isready --quiet; do
  sleep 2
done
for database in airflow mlflow drl; do
  pg_restore --clean --if-exists --exit-on-error --single-transaction --no-owner --role="$database" \
    --dbname="$database" "$newest/$database.dump"
done
echo "restored $newest"
