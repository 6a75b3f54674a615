"""regrow.actors: the function service, as actors: dispatcher, workers with their slots, and the embedded store."""

if __name__ != "regrow.actors":
    raise ImportError(f"import this package as regrow.actors, not as {__name__}: a second copy would split its state")
