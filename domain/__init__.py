"""The pure core: no driver, clock, randomness, thread or I/O."""
