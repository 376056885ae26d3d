#!/bin/sh
# Make or renew the tables of Temporal's two databases; harmless when repeated.
set -eu
for pair in temporal:temporal temporal_visibility:visibility; do
    database=${pair%%:*} kind=${pair##*:}
    export SQL_DATABASE="$database"
    temporal-sql-tool setup-schema -v 0.0
    temporal-sql-tool update-schema --schema-name "postgresql/v12/$kind" # it comes with the tool
done
