"""Looking after a store: check, copy, restore and prune it, and build its read models anew."""
