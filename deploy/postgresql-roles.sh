#!/usr/bin/env bash
# The job `roles` of compose.yaml: sets the rights on the tables, and creates the accounts that log in with them.
set -euo pipefail
PGPASSWORD=$(cat /run/secrets/postgres_owner_password)
export PGPASSWORD
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file /deploy-sql/database_roles.sql
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file /deploy/postgresql-logins.sql
