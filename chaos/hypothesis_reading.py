"""Core: the steady-state hypothesis of an experiment's file, with its probes and tolerances.

Keys are Chaos Toolkit's: a probe that asks for a URL is read as it stands in one of its files.
"""

import re
from typing import Any, Final

import msgspec

from regrow.chaos.document import Mistake, Node, Reader, anything, duration, each, number, one_of, renamed, table, text
from regrow.chaos.experiment import Hypothesis, Probe, Strategy, Tolerance

TARGETS: Final = {
    "task": "latency_ms",
    "http": "status",
    "tree": "running",
}  # of a type of probe: what is judged of its answer


def hypothesis(node: Node) -> Hypothesis:
    """What is measured, when, and what is tolerated.  Raises Mistake."""
    readers: dict[str, Reader] = {
        "title": text,
        "strategy": one_of([it.value for it in Strategy]),
        "every": duration,
        "probes": each(_probe),
    }
    found = renamed(table(node, readers, required=["probes"]), {"every": "every_s"})
    found.pop("title", None)
    if "strategy" in found:
        found["strategy"] = Strategy(found["strategy"])
    return Hypothesis(**found)


def _probe(node: Node) -> Probe:
    readers: dict[str, Reader] = {
        "name": text,
        "type": one_of(["task", "http", "tree", "probe"]),
        "tolerance": _tolerance,
        "url": text,
        "path": text,
        "timeout": duration,
        "provider": _provider,
    }
    found = table(node, readers, required=("name", "type", "tolerance"))
    if found["type"] == "probe":
        if "provider" not in found:
            raise Mistake(node, "a probe of type 'probe' needs its provider; or use type task, http or tree")
        found |= found.pop("provider")
    elif "provider" in found:
        raise Mistake(node, f"'provider' belongs to type 'probe', not to {found['type']!r}")
    needed = {"http": "url", "tree": "path"}.get(found["type"])
    if needed and needed not in found:
        raise Mistake(node, f"a probe of type {found['type']!r} needs {needed!r}")
    if not found["tolerance"].target:
        found["tolerance"] = msgspec.structs.replace(found["tolerance"], target=TARGETS[found["type"]])
    return Probe(**renamed(found, {"timeout": "timeout_s"}))


def _provider(node: Node) -> dict[str, Any]:
    return table(node, {"type": one_of(["http"]), "url": text, "timeout": duration}, required=("type", "url"))


def _tolerance(node: Node) -> Tolerance:
    """A plain value is to be equalled, a list has it; a mapping says what kind it is."""
    if isinstance(node.value, list):
        return Tolerance("any_of", anything(node))
    if not isinstance(node.value, dict):
        return Tolerance("equal", node.value)
    readers: dict[str, Reader] = {
        "type": one_of(["range", "min", "max", "regex", "equal"]),
        "range": each(number(float("-inf"))),
        "value": anything,
        "pattern": text,
        "target": text,
    }
    found = table(node, readers, required=["type"])
    kind = found["type"]
    key = {"range": "range", "regex": "pattern"}.get(kind, "value")
    if key not in found:
        raise Mistake(node, f"a tolerance of type {kind!r} needs {key!r}")
    _check_tolerance(node, kind, found[key])
    return Tolerance(kind, found[key], found.get("target", ""))


def _check_tolerance(node: Node, kind: str, value: Any) -> None:
    if kind == "range" and len(value) != 2:
        raise Mistake(node, "'range' is a list of two numbers, least and most")
    if kind in ("min", "max") and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Mistake(node, f"'value' of a tolerance of type {kind!r} is a number")
    if kind == "regex":
        try:
            re.compile(value)
        except re.error as error:
            raise Mistake(node, f"'pattern' is no regular expression: {error}") from None
