"""Recorded jobs decided anew by another definition: what would have been otherwise."""
