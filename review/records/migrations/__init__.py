"""How the tables came to be what they are; `review.records.engine.upgrade` runs it."""
