"""How the ledger's tables came to be what they are; `upgrade` in `review.records.engine` runs it."""
