#!/bin/bash
# Makes a role and a database of the same name for each user of the server; run once, when the data folder is made.
# The image sources this file where it may not execute it, so nothing here changes the shell's own settings.
make_database() {
  psql -v ON_ERROR_STOP=1 -d postgres -q -v role="$1" -v password="$2" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role" TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
SQL
}
make_database airflow "$AIRFLOW_PASSWORD"
make_database mlflow "$MLFLOW_PASSWORD"
make_database drl "$DRL_PASSWORD"
