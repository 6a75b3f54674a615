"""A user's module: functions that call each other, classes, an error, and things that cannot be pickled."""

import enum
import functools
import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

from support.library import tools
from support.library.tools import text

LOCK = threading.Lock()  # cannot be pickled, and nothing that travels needs it
FACTOR = 3
T = TypeVar("T")


class TooLargeError(ValueError):
    """An error of the user's own."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: int

    seen = 0

    def doubled(self) -> "Point":
        return Point(double(self.x), double(self.y))


class Path:
    def __init__(self, *points: Point) -> None:
        self.points = points

    @functools.cached_property
    def length(self) -> int:
        return sum(abs(point.x) + abs(point.y) for point in self.points)


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


def double(number: int) -> int:
    return number * 2


def scaled(number: int) -> int:
    return double(number) * FACTOR


def shouted(words: str) -> str:
    return tools.text.shout(words)


def shouted_directly(words: str) -> str:
    return text.shout(words)


def asked(words: str) -> str:
    return marked(words) + tools.MARK


def marked(words: str) -> str:
    return words + tools.QUESTION


def asked_first(words: str) -> str:
    return tools.MARK + marked(words)


def refuse(size: int) -> None:
    raise TooLargeError(size, FACTOR)


def moved(point: Point) -> Point:
    return Point(point.x + 1, point.y + 1).doubled()


def other(colour: Colour) -> Colour:
    return Colour.BLUE if colour is Colour.RED else Colour.RED


def length(path: Path) -> int:
    return path.length


def boxed(number: int) -> Box[int]:
    return Box(number)


def guarded(number: int) -> int:
    with LOCK:
        return number


@functools.cache
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
