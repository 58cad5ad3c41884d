#!/bin/sh
# Makes Temporal's two databases, or brings them to the schema of this release. Runs in the image temporalio/admin-tools.
# Safe to run again: what is there already is left alone.
set -eu

: "${SQL_HOST:?the host of PostgreSQL}" "${SQL_USER:?a user who may create databases}" "${SQL_PASSWORD:?the password}"
schemas=${SCHEMAS:-/etc/temporal/schema/postgresql/v12}

prepare() {
    sql() { temporal-sql-tool --plugin postgres12 --ep "$SQL_HOST" -p "${SQL_PORT:-5432}" -u "$SQL_USER" --db "$@"; }
    sql "$1" create
    sql "$1" setup-schema -v 0.0
    sql "$1" update-schema -d "$schemas/$2/versioned"
}

prepare temporal temporal
prepare temporal_visibility visibility
