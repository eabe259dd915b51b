"""What differs between two runs: comparisons of plain facts, without any store."""
