"""regrow.chaos: faults on purpose, against one's own tree."""

if __name__ != "regrow.chaos":
    raise ImportError(f"import this package as regrow.chaos, not as {__name__}: a second copy would split its state")
