"""Where the time of a job went: what each step did when, and what made it take so long."""
