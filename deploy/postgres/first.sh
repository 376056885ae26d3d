#!/bin/sh
# Users and databases, once, when PostgreSQL's own folder is empty.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres \
    -v ledger="$LEDGER_PASSWORD" -v engine="$TEMPORAL_DB_PASSWORD" <<'SQL'
CREATE USER sanshen PASSWORD :'ledger';
CREATE USER temporal PASSWORD :'engine';
CREATE DATABASE sanshen OWNER sanshen;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
SQL
