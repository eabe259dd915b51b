"""Flow control: in which order ready steps are released, how many at once, and who starves."""
