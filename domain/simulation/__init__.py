"""What-if: a load is replayed on a virtual clock, through the release and the limits in use."""
