"""Read models as folds of the log, and the queries over them. Pure."""
