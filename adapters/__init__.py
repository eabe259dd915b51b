"""One technology per file, each behind a port of the domain or the projections."""
