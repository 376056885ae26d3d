#!/bin/sh
# Make or renew the tables of Temporal's two databases; harmless when repeated.
set -eu
for pair in temporal:temporal temporal_visibility:visibility; do
    database=${pair%%:*} kind=${pair##*:}
    export SQL_DATABASE="$database"
    temporal-sql-tool setup-schema -v 0.0 || true # it is there already
    temporal-sql-tool update-schema -d "/etc/temporal/schema/postgresql/v12/$kind/versioned"
done
