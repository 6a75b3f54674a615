"""regrow.runtime: a supervision tree of operating-system processes, by the rules of Erlang/OTP.

Generic: it knows processes, mailboxes and heartbeats, and nothing of what they are used for.
"""

if __name__ != "regrow.runtime":
    raise ImportError(f"import this package as regrow.runtime, not as {__name__}: a second copy would split its state")
