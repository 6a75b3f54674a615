"""Plays a user's own package: nothing outside its author's machine has it."""
