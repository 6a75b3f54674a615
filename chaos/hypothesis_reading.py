"""Core: the steady-state hypothesis of an experiment's file, with its probes and tolerances.

Keys are Chaos Toolkit's: a probe that asks for a URL is read as it stands in one of its files.
"""

import re
from typing import Any, Final

import msgspec

from regrow.chaos.document import Mistake, Node, Reader, anything, duration, each, number, one_of, renamed, table, text
from regrow.chaos.experiment import Hypothesis, Probe, Strategy, Tolerance

TARGETS: Final = {
    "task": ("latency_ms", "value"),
    "http": ("status", "latency_ms", "body"),
    "tree": ("running", "restarts", "state"),
}  # the first goes without saying
PLACEHOLDER: Final = re.compile(r"\{(?!gateway\})[^}]*\}?")


def hypothesis(node: Node) -> Hypothesis:
    """What is measured, when, and what is tolerated.  Raises Mistake."""
    readers: dict[str, Reader] = {
        "title": text,
        "strategy": one_of([it.value for it in Strategy]),
        "every": duration,
        "probes": each(_probe),
    }
    found = renamed(table(node, readers, required=["probes"]), {"every": "every_s"})
    names = [probe.name for probe in found["probes"]]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise Mistake(node, f"two probes are called {twice[0]!r}: each needs a name of its own")
    found.pop("title", None)
    if "strategy" in found:
        found["strategy"] = Strategy(found["strategy"])
    return Hypothesis(**found)


def _probe(node: Node) -> Probe:
    readers: dict[str, Reader] = {
        "name": text,
        "type": one_of(["task", "http", "tree", "probe"]),
        "tolerance": _tolerance,
        "url": _url,
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
    targets = TARGETS[found["type"]]
    if found["tolerance"].target not in ("", *targets):
        raise Mistake(
            node,
            f"a probe of type {found['type']!r} has no {found['tolerance'].target!r}: target {' or '.join(targets)}",
        )
    if not found["tolerance"].target:
        found["tolerance"] = msgspec.structs.replace(found["tolerance"], target=targets[0])
    return Probe(**renamed(found, {"timeout": "timeout_s"}))


def _url(node: Node) -> str:
    url = text(node)
    if unknown := PLACEHOLDER.search(url):
        raise Mistake(node, f"{unknown[0]} stands for nothing here: only {{gateway}} does, as in {{gateway}}/readyz")
    return url


def _provider(node: Node) -> dict[str, Any]:
    return table(node, {"type": one_of(["http"]), "url": _url, "timeout": duration}, required=("type", "url"))


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
    if kind == "range" and (len(value) != 2 or value[0] > value[1]):
        raise Mistake(node, "'range' is a list of two numbers, least and most")
    if kind in ("min", "max") and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Mistake(node, f"'value' of a tolerance of type {kind!r} is a number")
    if kind == "regex":
        try:
            re.compile(value)
        except re.error as error:
            raise Mistake(node, f"'pattern' is no regular expression: {error}") from None
