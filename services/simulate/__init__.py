"""What-if: replays what a store or an exported history has recorded, under other policies."""
