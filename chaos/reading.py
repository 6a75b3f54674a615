"""Core: an experiment's file (YAML or JSON) as an Experiment, or every mistake in it, each with its line and key.

The keys are those of Chaos Toolkit where there is such a thing (title, description, tags, configuration, steady-state-hypothesis with its
probes and tolerances, method), so that its users feel at home: a probe that asks for a URL is read as it stands in one of its files.
Durations are written ``5s``, ``200ms``, ``2m``, sizes ``10MB``; a key that a fault calls ``delay_s`` is written ``delay``.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from regrow.chaos.document import (
    Mistake,
    Mistakes,
    Node,
    Reader,
    anything,
    duration,
    each,
    flag,
    integer,
    number,
    one_of,
    parse,
    size,
    table,
    text,
)
from regrow.chaos.experiment import (
    Action,
    Arrivals,
    Configuration,
    Doing,
    Expectations,
    Experiment,
    Hypothesis,
    Probe,
    StopWhen,
    Strategy,
    Target,
    Tolerance,
    Workload,
)
from regrow.chaos.fault import Role
from regrow.runtime.errors import ConfigError

STAGES: Final = ("detect", "requeue", "run", "service")
PERCENTILES: Final = ("p50", "p90", "p99", "max")
BOUNDS: Final = [f"{stage}_{percentile}" for stage in STAGES for percentile in PERCENTILES]
HITS: Final = re.compile(r"([a-z_.]+)_while_(running|idle|anything)")
PROBE_TARGETS: Final = {"task": "latency_ms", "http": "status", "tree": "running"}
WHEN: Final[dict[str, Reader]] = {
    "at": duration,
    "every": duration,
    "jitter": duration,
    "every_jitter": duration,
    "count": integer(1),
    "for": duration,
    "background": flag,
    "seed": integer(0),
}


class Vocabulary(msgspec.Struct, frozen=True):
    """The words that other parts define: faults with their fields, kinds of tasks, invariants.  ``check`` raises ConfigError."""

    faults: Mapping[str, type[msgspec.Struct]]
    check: Callable[[str, dict[str, Any]], object]
    kinds: tuple[str, ...]
    invariants: tuple[str, ...]


def read(source: str, words: Vocabulary) -> Experiment:
    """The experiment.  Raises Mistakes, all that there are."""
    try:
        found = table(parse(source), _experiment(words), required=("version", "title", "method"))
    except Mistake as mistake:
        raise Mistakes([mistake]) from None
    for key in ("version", "rollbacks"):
        found.pop(key, None)
    return Experiment(**_renamed(found, {"steady-state-hypothesis": "hypothesis", "settle": "settle_s"}))


def _experiment(words: Vocabulary) -> dict[str, Reader]:
    return {
        "version": one_of([1]),
        "title": text,
        "description": text,
        "seed": integer(0),
        "tags": each(text),
        "configuration": _configuration,
        "workload": partial(_workload, kinds=words.kinds),
        "steady-state-hypothesis": _hypothesis,
        "method": each(partial(_action, words=words)),
        "settle": duration,
        "expect": partial(_expectations, words=words),
        "stop_when": _stop_when,
        "rollbacks": one_of(["auto"]),
    }


def _renamed(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in found.items()}


def _configuration(node: Node) -> Configuration:
    readers: dict[str, Reader] = {
        "mode": one_of(["push", "pull", "local"]),
        "workers": integer(1),
        "slots": integer(1),
        "store": one_of(["embedded"]),
        "durability": one_of(["always", "everysec"]),
        "fast_death": flag,
        "memory_budget": size,
        "max_queued": integer(1),
    }
    return Configuration(**_renamed(table(node, readers), {"memory_budget": "memory_budget_bytes"}))


def _workload(node: Node, kinds: tuple[str, ...]) -> Workload:
    readers: dict[str, Reader] = {
        "rate": number(0),
        "duration": duration,
        "mix": partial(_mix, kinds=kinds),
        "arrivals": one_of([it.value for it in Arrivals]),
        "burst": integer(1),
        "rate_to": number(0),
    }
    found = _renamed(table(node, readers), {"duration": "duration_s"})
    if "arrivals" in found:
        found["arrivals"] = Arrivals(found["arrivals"])
    if (found.get("arrivals") is Arrivals.RAMP) != ("rate_to" in found):
        raise Mistake(node, "'rate_to' belongs to 'arrivals: ramp', and the other way round")
    return Workload(**found)


def _mix(node: Node, kinds: tuple[str, ...]) -> dict[str, float]:
    found = table(node, {kind: number(0) for kind in kinds})
    if not sum(found.values()) > 0:
        raise Mistake(node, "at least one kind of task needs a share above 0")
    return found


def _hypothesis(node: Node) -> Hypothesis:
    readers: dict[str, Reader] = {
        "title": text,
        "strategy": one_of([it.value for it in Strategy]),
        "every": duration,
        "probes": each(_probe),
    }
    found = _renamed(table(node, readers, required=["probes"]), {"every": "every_s"})
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
        found["tolerance"] = msgspec.structs.replace(found["tolerance"], target=PROBE_TARGETS[found["type"]])
    return Probe(**_renamed(found, {"timeout": "timeout_s"}))


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


def _action(node: Node, words: Vocabulary) -> Action:
    if not isinstance(node.value, dict) or "fault" not in node.value:
        raise Mistake(node, "each line of the method names its fault: {fault: kill, ...}")
    name = one_of(words.faults)(node.value["fault"])
    fields = _fault_fields(words.faults[name])
    when = {key: reader for key, reader in WHEN.items() if key not in fields}
    if "jitter" in when:
        when.pop("every_jitter")
    readers: dict[str, Reader] = {"fault": text, "target": _target} | when | {key: it[1] for key, it in fields.items()}
    found = table(node, readers)
    options = {fields[key][0]: value for key, value in found.items() if key in fields}
    try:
        words.check(name, options)
    except ConfigError as error:
        raise Mistake(node, _in_words_of_files(str(error), fields)) from None
    if found.get("count", 1) > 1 and "every" not in found:
        raise Mistake(node, "'count' needs 'every': how far apart are they?")
    names = {"at": "at_s", "every": "every_s", "jitter": "jitter_s", "every_jitter": "jitter_s", "for": "for_s"}
    timing = _renamed({key: value for key, value in found.items() if key in when}, names)
    return Action(name, options, found.get("target"), **timing)


def _in_words_of_files(problem: str, fields: Mapping[str, tuple[str, Reader]]) -> str:
    """What a fault says of its own fields, with the keys that they have in a file: rate, and not rate_bytes."""
    for key, (field, _) in fields.items():
        problem = re.sub(rf"\b{field}\b", key, problem)
    return problem


def _fault_fields(fault: type[msgspec.Struct]) -> dict[str, tuple[str, Reader]]:
    """By the key in a file: the name of the field, and how its value is written."""
    found: dict[str, tuple[str, Reader]] = {}
    for field in msgspec.structs.fields(fault):
        if field.name.endswith("_s"):
            found[field.name.removesuffix("_s")] = field.name, duration
        elif field.name.endswith("_bytes"):
            found[field.name.removesuffix("_bytes")] = field.name, size
        else:
            found[field.name] = field.name, anything
    return found


def _target(node: Node) -> Target:
    readers: dict[str, Reader] = {
        "role": one_of([it.value for it in Role]),
        "name": text,
        "pick": one_of(["random", "first", "all"]),
        "while": one_of([it.value for it in Doing]),
    }
    found = table(node, readers)
    if "role" in found:
        found["role"] = Role(found["role"])
    if "while" in found:
        found["doing"] = Doing(found.pop("while"))
    return Target(**found)


def _expectations(node: Node, words: Vocabulary) -> Expectations:
    readers: dict[str, Reader] = {
        "invariants": partial(_invariants, known=words.invariants),
        "recovery": partial(table, readers=dict.fromkeys(BOUNDS, duration)),
        "must_hit": partial(_must_hit, faults=words.faults),
    }
    return Expectations(**table(node, readers))


def _invariants(node: Node, known: tuple[str, ...]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for item in each(lambda it: it)(node):
        if isinstance(item.value, dict):
            found |= table(item, dict.fromkeys(known, duration))
        else:
            found[one_of(known)(item)] = None
    return found


def _must_hit(node: Node, faults: Mapping[str, object]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, item in (node.value if isinstance(node.value, dict) else {"": node}).items():
        match = HITS.fullmatch(key)
        if match is None or match[1] not in faults:
            raise Mistake(
                item, "say FAULT_while_running, FAULT_while_idle or FAULT_while_anything, as kill_while_running: 8"
            )
        found[key] = integer(1)(item)
    return found


def _stop_when(node: Node) -> StopWhen:
    readers: dict[str, Reader] = {"gateway_down": duration, "faults_outstanding": integer(1)}
    return StopWhen(**_renamed(table(node, readers), {"gateway_down": "gateway_down_s"}))
