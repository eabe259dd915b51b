"""Histories as files: one tree of jobs with all that tells of it, to be looked at elsewhere."""
