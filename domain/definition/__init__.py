"""The job definition: one model, and two faces (YAML and Python) that give it."""
