"""Faults: one file each, with its undo."""
