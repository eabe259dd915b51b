"""The run report: where the time of a job went, for programs, for people, and as a page."""
