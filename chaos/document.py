"""Core: a YAML or JSON document whose every value knows its line, and the reading of it with all mistakes told at once.

A *reader* of a value is a function that is given its node and returns what it means, or raises Mistake.  ``table`` reads a mapping by a
reader for each of its keys; what is wrong with one key keeps none of the others from being looked at.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
BYTES: Final = {"b": 1, "kb": 1000, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
MEASURE: Final = re.compile(r"([0-9.]+)\s*([a-z]+)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Node:
    """A value: a mapping or a list of nodes, or a plain value.  ``name``: where it is, as ``method[2].fault``."""

    value: Any
    line: int
    name: str


class Mistake(Exception):
    """Something in a document is wrong; one line says what, and what would be right."""

    def __init__(self, node: Node, problem: str) -> None:
        super().__init__(problem)
        self.node = node
        self.problem = problem

    def __str__(self) -> str:
        return f"line {self.node.line}: {self.node.name or 'the document'}: {self.problem}"


class Mistakes(Exception):
    """All that is wrong with a part of a document, in order of lines."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda it: it.node.line)
        super().__init__("\n".join(map(str, self.mistakes)))


Reader = Callable[[Node], Any]


def parse(text: str) -> Node:
    """The document; JSON is read as the YAML that it is.  Raises Mistake."""
    try:
        root = yaml.compose(text.replace("\t", " ") if text.lstrip().startswith("{") else text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Mistake(Node(None, line, ""), f"this is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise Mistake(Node(None, 1, ""), f"this is no YAML: {error}") from None
    if root is None:
        raise Mistake(Node(None, 1, ""), "it is empty")
    return _node(root, "")


def _node(node: yaml.Node, name: str) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return Node(_mapping(node, name), line, name)
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(item, f"{name}[{place}]") for place, item in enumerate(node.value)], line, name)
    try:
        return Node(yaml.SafeLoader("").construct_object(node), line, name)
    except yaml.MarkedYAMLError as error:
        raise Mistake(Node(None, line, name), f"this value cannot be read: {error.problem}") from None
    except ValueError as error:
        raise Mistake(Node(None, line, name), f"this value cannot be read: {error}") from None


def _mapping(node: yaml.MappingNode, name: str) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, value in node.value:
        word = str(key.value)
        where = f"{name}.{word}" if name else word
        if word in found:
            raise Mistake(Node(None, key.start_mark.line + 1, where), "this key is there twice")
        found[word] = _node(value, where)
    return found


def table(node: Node, readers: Mapping[str, Reader], required: Iterable[str] = ()) -> dict[str, Any]:
    """What the keys of a mapping mean, of those that are there.  Raises Mistakes."""
    if not isinstance(node.value, dict):
        raise Mistake(node, f"a mapping is wanted here, with {_listed(readers)}")
    mistakes = [Mistake(node, f"{key!r} is missing") for key in required if key not in node.value]
    found = {
        key: _read(value, readers.get(key) or _unknown(key, readers), mistakes) for key, value in node.value.items()
    }
    if mistakes:
        raise Mistakes(mistakes)
    return found


def each(reader: Reader) -> Reader:
    """A list, each of whose items is read so."""

    def read(node: Node) -> tuple[Any, ...]:
        if not isinstance(node.value, list):
            raise Mistake(node, f"a list is wanted here, not {shown(node)}")
        mistakes: list[Mistake] = []
        found = tuple([_read(item, reader, mistakes) for item in node.value])
        if mistakes:
            raise Mistakes(mistakes)
        return found

    return read


def _read(node: Node, reader: Reader, mistakes: list[Mistake]) -> Any:
    """What it means; what is wrong with it goes to the mistakes."""
    try:
        return reader(node)
    except Mistake as mistake:
        mistakes.append(mistake)
    except Mistakes as several:
        mistakes += several.mistakes
    return None


def _unknown(key: str, known: Iterable[str]) -> Reader:
    def read(node: Node) -> Any:
        raise Mistake(node, f"there is no key {key!r} here{_nearest(key, known) or f' (known: {_listed(known)})'}")

    return read


def text(node: Node) -> str:
    """Some text that is not empty."""
    if not isinstance(node.value, str) or not node.value.strip():
        raise Mistake(node, f"text is wanted here, not {shown(node)}")
    return node.value


def integer(least: int | None = None) -> Reader:
    """A whole number, of at least so much."""

    def read(node: Node) -> int:
        if (
            not isinstance(node.value, int)
            or isinstance(node.value, bool)
            or (least is not None and node.value < least)
        ):
            raise Mistake(
                node, f"a whole number{'' if least is None else f' from {least}'} is wanted here, not {shown(node)}"
            )
        return node.value

    return read


def number(least: float, most: float = float("inf")) -> Reader:
    """A number in these bounds."""

    def read(node: Node) -> float:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not least <= node.value <= most:
            upto = "" if most == float("inf") else f" to {most:g}"
            raise Mistake(node, f"a number from {least:g}{upto} is wanted here, not {shown(node)}")
        return float(node.value)

    return read


def flag(node: Node) -> bool:
    """true or false."""
    if not isinstance(node.value, bool):
        raise Mistake(node, f"true or false is wanted here, not {shown(node)}")
    return node.value


def one_of(choices: Iterable[Any]) -> Reader:
    """One of these values."""
    known = list(choices)

    def read(node: Node) -> Any:
        if isinstance(node.value, dict | list) or node.value not in known:
            raise Mistake(node, f"{shown(node)} is none of {_listed(known)}{_nearest(node.value, known)}")
        return node.value

    return read


def duration(node: Node) -> float:
    """Seconds: ``5s``, ``200ms``, ``2m``, ``1h``, or a plain number of seconds."""
    return float(_measure(node, SECONDS, "a duration such as 5s, 200ms, 2m or 1h"))


def some_time(node: Node) -> float:
    """A duration that is not 0."""
    found = duration(node)
    if not found:
        raise Mistake(node, "0 s is no time: say how long, or leave it out for as long as the run goes on")
    return found


def shift(node: Node) -> float:
    """A duration that may be negative: ``-60s``."""
    value = node.value
    if isinstance(value, str) and value.strip().startswith("-"):
        return -duration(replace(node, value=value.strip()[1:]))
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return -duration(replace(node, value=-value))
    return duration(node)


def size(node: Node) -> int:
    """Bytes: ``10MB``, ``64KiB``, or a plain number of bytes."""
    return int(_measure(node, BYTES, "a size such as 10MB, 64KiB or 1GB"))


def anything(node: Node) -> Any:
    """Plain data, as it stands."""
    if isinstance(node.value, dict):
        return {key: anything(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [anything(item) for item in node.value]
    return node.value


def shown(node: Node) -> str:
    """A value, for a sentence."""
    if isinstance(node.value, dict):
        return "a mapping"
    return "a list" if isinstance(node.value, list) else repr(node.value)


def _measure(node: Node, units: Mapping[str, float], wanted: str) -> float:
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return value
    found = MEASURE.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if found:
            return float(found[1]) * units[found[2].lower()]
    except (KeyError, ValueError):
        pass
    raise Mistake(node, f"{wanted} is wanted here, not {shown(node)}")


def _listed(words: Iterable[Any]) -> str:
    return ", ".join(map(str, words))


def _nearest(word: Any, known: Iterable[Any]) -> str:
    near = difflib.get_close_matches(str(word), [str(it) for it in known], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def renamed(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What was read, with other names for these keys: those of the values' fields."""
    return {names.get(key, key): value for key, value in found.items()}
