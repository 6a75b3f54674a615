"""Shell: functions, pickled once each."""

import warnings
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from regrow.gateway import by_value
from regrow.gateway.answers import FunctionRequest
from regrow.gateway.jobs import Function
from regrow.gateway.terms import FUTILE_RETRY, FunctionTerms, is_futile, with_names

P = ParamSpec("P")
R = TypeVar("R")


class Captures:
    """The functions that one client has captured, by identity, for as long as they live.

    A function is captured when the client first meets it: what it refers to is sent as it was then.  ``anew`` captures
    it again.  Other callables (bound methods, partials, instances) carry state that may change: captured at each use.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, Function[..., Any]] = weakref.WeakKeyDictionary()

    def of(self, fn: Callable[..., Any] | Function[..., Any] | str) -> Function[..., Any] | str:
        """The capture of ``fn``; an id, or a capture, stays what it is.  Raises NotPicklable and TypeError."""
        if isinstance(fn, (str, Function)):
            return fn
        if not isinstance(fn, FunctionType):
            return capture(fn, {})
        known = self._known.get(fn)
        return known if known is not None else self.anew(fn, {})

    def anew(self, fn: Callable[..., Any], terms: FunctionTerms) -> Function[..., Any]:
        """The capture of ``fn`` as it is now, which later uses of it share.  Raises NotPicklable and TypeError."""
        captured = capture(fn, terms)
        if isinstance(fn, FunctionType):
            self._known[fn] = captured
        return captured


def capture(fn: Callable[P, R], terms: FunctionTerms) -> Function[P, R]:
    """``fn`` and what it refers to, as of now.  Raises NotPicklable, and TypeError for what cannot be called, or no term."""
    if not callable(fn):
        raise TypeError(f"a function or the id of a registered one is needed, not a {type(fn).__name__}")
    unknown = terms.keys() - FunctionTerms.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such term of a function: {', '.join(sorted(unknown))}")
    if is_futile(terms):
        warnings.warn(FUTILE_RETRY, stacklevel=3)
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    request = FunctionRequest(
        name[:200],
        by_value.dumps(fn),
        terms.get("max_attempts"),
        terms.get("limits"),
        with_names(terms.get("retry")),
        terms.get("ttl_s"),
    )
    return Function(request)
