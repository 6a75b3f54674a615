"""Callables of every shape that people send, named; and values that are no callables."""

import asyncio
import builtins
import collections
import contextlib
import datetime as dt
import decimal
import functools
import operator
import textwrap
import uuid
from collections.abc import Callable, Iterator
from typing import Any

OFFSET = 7


def plain(x: int) -> int:
    """By reference for pickle and cloudpickle, as this module can be imported."""
    return x * 2


def by_value(source: str, name: str, **names: object) -> Callable[..., Any]:
    """``name`` as ``source`` defines it in a module that nobody can import, so that every library sends it by value."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(textwrap.dedent(source), namespace)
    return namespace[name]


def _closure() -> Callable[[int], int]:
    return by_value("def make(n):\n    def add(x): return x + n\n    return add", "make")(3)


def _recursive_closure() -> Callable[[int], int]:
    source = """
    def make():
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        return fib
    """
    return by_value(source, "make")()


CLASS = """
import functools
class Adder:
    unit = 1
    def __init__(self, n=0): self.n = n
    def add(self, x): return self.n + x
    def __call__(self, x): return self.n + x
    @classmethod
    def make(cls, n): return cls(n)
    @staticmethod
    def double(x): return 2 * x
class Child(Adder):
    def add(self, x): return super().add(x) + 1
"""


def shapes() -> Iterator[tuple[str, object]]:
    """Every callable, with the name of its shape."""
    adder = by_value(CLASS, "Adder")
    yield "lambda", by_value("f = lambda x: x + 1", "f")
    yield "function", by_value("def f(x): return x + 1", "f")
    yield "closure", _closure()
    yield "nested", by_value("def f(x):\n    def g(y): return y + 1\n    return g(g(x))", "f")
    yield "recursive", by_value("def f(n): return 1 if n < 2 else n * f(n - 1)", "f")
    yield "recursive closure", _recursive_closure()
    yield "mutual recursion", by_value("def a(n): return n and b(n - 1)\ndef b(n): return n and a(n - 1)", "a")
    yield "globals", by_value("def f(x): return x + OFFSET", "f", OFFSET=OFFSET)
    yield "global table", by_value("def f(x): return TABLE[x]", "f", TABLE={i: str(i) for i in range(3000)})
    yield "calls another", by_value("def g(x): return x\ndef f(x): return g(x)", "f")
    yield "imports inside", by_value("def f(x):\n    import math\n    return math.sqrt(x)", "f")
    yield "imported module", by_value("import math\ndef f(x): return math.sqrt(x)", "f")
    yield "keyword-only defaults", by_value("def f(x, *, scale=2, shift=1): return x * scale + shift", "f")
    yield "defaults", by_value("def f(x, y=[1, 2], z={'a': (1, 2)}): return x", "f")
    yield "args and kwargs", by_value("def f(*args, **kwargs): return args, kwargs", "f")
    yield "annotations", by_value("def f(x: int, y: 'str' = '') -> dict[str, int]: return {y: x}", "f")
    yield "docstring", by_value(f"def f(x):\n    '''{'long ' * 400}'''\n    return x", "f")
    yield "attributes", by_value("def f(x): return x\nf.version = (1, 2)\nf.note = 'kept'", "f")
    yield (
        "decorated",
        by_value(
            "import functools\ndef twice(g):\n    @functools.wraps(g)\n    def w(*a): return g(g(*a))\n    return w\n"
            "@twice\ndef f(x): return x + 1",
            "f",
        ),
    )
    yield "generator function", by_value("def f(n):\n    yield from range(n)", "f")
    yield "async function", by_value("async def f(x): return x", "f")
    yield "async generator function", by_value("async def f(x):\n    yield x", "f")
    yield "unicode", by_value("def größe(ü): return 'größe ☃' + ü", "größe")
    yield "class", adder
    yield "subclass", by_value(CLASS, "Child")
    yield "bound method", adder(1).add
    yield "class method", adder.make
    yield "static method", adder.double
    yield "method as a function", adder.add
    yield "callable instance", adder(2)
    yield (
        "dataclass",
        by_value("import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\n    y: int = 0", "Point"),
    )
    yield "enum", by_value("import enum\nclass Colour(enum.Enum):\n    RED = 1", "Colour")
    yield "partial", functools.partial(by_value("def f(x, y): return x + y", "f"), 1, y=2)
    yield "partial of a builtin", functools.partial(pow, 2)
    yield "partial of a partial", functools.partial(functools.partial(max, 1), 2)
    yield "builtin", len
    yield "builtin type", dict
    yield "builtin method", [1, 2].count
    yield "text method", "a,b".split
    yield "itemgetter", operator.itemgetter(1)
    yield "attrgetter", operator.attrgetter("a.b")
    yield "methodcaller", operator.methodcaller("split", ",")
    yield "standard library", textwrap.dedent
    yield "standard library class", collections.OrderedDict
    yield "exception class", ValueError
    yield "by reference", plain
    yield "cached", functools.lru_cache(plain)
    yield "unbound builtin method", str.upper
    yield "coroutine of the library", asyncio.sleep
    yield "context manager class", contextlib.ExitStack
    yield "print", builtins.print


def not_callables() -> Iterator[tuple[str, object]]:
    """Values that can certainly not be called."""
    yield "None", None
    yield "True", True
    yield "number", 42
    yield "large number", 3**4000
    yield "float", 2.5
    yield "complex", 1j
    yield "text", "def f(): pass"
    yield "long text", "x" * 100_000
    yield "bytes", b"code"
    yield "bytearray", bytearray(b"code")
    yield "list of functions", [len, max]
    yield "tuple of functions", (len, max)
    yield "dict", {"f": len}
    yield "set", {1, 2}
    yield "frozenset", frozenset((1, 2))
    yield "range", range(3)
    yield "slice", slice(3)
    yield "ellipsis", ...
    yield "not implemented", NotImplemented
    yield "date", dt.datetime(2026, 1, 1)
    yield "decimal", decimal.Decimal("1.5")
    yield "uuid", uuid.UUID(int=1)
    yield "ordered dict", collections.OrderedDict(a=1)
    yield "deque", collections.deque([1])
