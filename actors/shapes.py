"""Core: the stack machine that reads a pickle without loading it, and the shapes on its stack.

A number is ``DATA``, a short text stays itself, a tuple of shapes stays a tuple, a dict is a ``Mapping``, a reference
to a module's attribute is a ``Global``, and what a call would make is whatever the ``Maker`` says about the called
name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

MAX_TEXT: Final = 1_000  # bytes; longer texts are no names, and are not kept


class Malformed(Exception):
    """This is no pickle that would load. ``code`` is stable, the text is for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True, frozen=True)
class Made:
    """Something that only loading would make, as far as its maker's name tells. ``what`` is one of the words below."""

    what: str


@dataclass(slots=True, frozen=True)
class Global:
    """A reference to a module's attribute, by name; without a name, the module itself."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Mapping:
    """A dict. ``odd_keys``: some key is certainly no text."""

    odd_keys: bool = False


DATA: Final = Made("data")  # certainly not callable
TEXT: Final = Made("text")  # a text too long to be kept
UNKNOWN: Final = Made("unknown")

Shape = Made | Global | Mapping | str | tuple["Shape", ...]
Maker = Callable[[Shape, Shape], Shape]  # (called, arguments) -> what the call would make


@dataclass(slots=True)
class Machine:
    """The state of one walk: ``stack`` is the part above the latest mark, ``below`` the parts under each open mark."""

    data: bytes
    made: Maker
    stack: list[Shape] = field(default_factory=list)
    below: list[list[Shape]] = field(default_factory=list)
    memo: dict[int, Shape] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)  # every module that the pickle names

    def within(self, start: int, size: int) -> int:
        """The offset after ``size`` bytes from ``start``, if the pickle is that long."""
        if size < 0:
            raise Malformed("not_a_pickle", f"a negative size at byte {start}")
        if start + size > len(self.data):
            raise Malformed("truncated", f"{size} bytes are declared at byte {start}, and fewer are there")
        return start + size

    def number(self, size: Struct, start: int) -> tuple[int, int]:
        """The number at ``start``, and the offset after it."""
        end = self.within(start, size.size)
        return size.unpack_from(self.data, start)[0], end

    def line(self, start: int) -> tuple[bytes, int]:
        """The text up to the next newline, and the offset after it."""
        end = self.data.find(b"\n", start)
        if end < 0:
            raise Malformed("truncated", f"the text at byte {start} does not end")
        return self.data[start:end], end + 1

    def top(self) -> Shape:
        """The object that the next operation works on."""
        return self.stack[-1]

    def call(self, called: Shape, arguments: Shape) -> None:
        """Push what calling would make; a maker that names a module makes the pickle depend on it."""
        result = self.made(called, arguments)
        if isinstance(result, Global):
            self.modules.add(result.module)
        self.stack.append(result)

    def since_mark(self) -> list[Shape]:
        """What was pushed since the latest mark, which is closed."""
        if not self.below:
            raise Malformed("not_a_pickle", "a mark is missing")
        items, self.stack = self.stack, self.below.pop()
        return items

    def name(self, module: Shape, name: Shape) -> Shape:
        """The global ``module.name``."""
        if isinstance(module, str) and isinstance(name, str):
            self.modules.add(module)
            return Global(module, name)
        if module is TEXT or name is TEXT:
            return UNKNOWN
        raise Malformed("not_a_pickle", "a global is named by something that is no text")
