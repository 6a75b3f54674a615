"""regrow.gateway: the HTTP door of the function service, and its Python client."""

if __name__ != "regrow.gateway":
    raise ImportError(f"import this package as regrow.gateway, not as {__name__}: a second copy would split its state")
