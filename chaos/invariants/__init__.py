"""The invariants, by theme; ``regrow.chaos.checker`` has the table of all."""
