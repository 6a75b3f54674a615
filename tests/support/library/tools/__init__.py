"""A package inside the user's package; it and its module import each other."""

from support.library.tools import text

__all__ = ["text"]
MARK = "!"
QUESTION = "?"
