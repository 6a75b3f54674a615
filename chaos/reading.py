"""Core: an experiment's file (YAML or JSON) as an Experiment, or every mistake in it, each with its line and key.

The keys are those of Chaos Toolkit where there is such a thing (title, description, tags, configuration, steady-state-hypothesis, method),
so that its users feel at home.
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
    renamed,
    shift,
    size,
    some_time,
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
    StopWhen,
    Target,
    Workload,
)
from regrow.chaos.fault import Role
from regrow.chaos.hypothesis_reading import hypothesis
from regrow.runtime.errors import ConfigError

STAGES: Final = ("detect", "requeue", "run", "service")
TARGETED: Final = "{} is done to somebody: add 'target: {{role: worker}}'"
UNTARGETED: Final = "{} is not done to one process: leave out the target"
MOMENTARY: Final = (
    "{} is over at once and nothing of it can be undone: leave out 'for'; a line that is to come later has an 'at'"
)
PERCENTILES: Final = ("p50", "p90", "p99", "max")
BOUNDS: Final = [f"{stage}_{percentile}" for stage in STAGES for percentile in PERCENTILES]
HITS: Final = re.compile(r"([a-z_.]+)_while_(running|idle|anything)")
WHEN: Final[dict[str, Reader]] = {
    "at": duration,
    "every": duration,
    "jitter": duration,
    "every_jitter": duration,
    "count": integer(1),
    "for": some_time,
    "background": flag,
    "seed": integer(0),
}


class Vocabulary(msgspec.Struct, frozen=True):
    """The words that other parts define: faults with their fields, kinds of tasks, invariants.

    ``check`` raises ConfigError.  ``targeted``: faults that are done to processes; ``momentary``: of which nothing can be undone.
    """

    faults: Mapping[str, type[msgspec.Struct]]
    check: Callable[[str, dict[str, Any]], object]
    targeted: frozenset[str]
    momentary: frozenset[str]
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
    return Experiment(**renamed(found, {"steady-state-hypothesis": "hypothesis", "settle": "settle_s"}))


def _experiment(words: Vocabulary) -> dict[str, Reader]:
    return {
        "version": one_of([1]),
        "title": text,
        "description": text,
        "seed": integer(0),
        "tags": each(text),
        "configuration": _configuration,
        "workload": partial(_workload, kinds=words.kinds),
        "steady-state-hypothesis": hypothesis,
        "method": each(partial(_action, words=words)),
        "settle": duration,
        "expect": partial(_expectations, words=words),
        "stop_when": _stop_when,
        "rollbacks": one_of(["auto"]),
    }


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
    return Configuration(**renamed(table(node, readers), {"memory_budget": "memory_budget_bytes"}))


def _workload(node: Node, kinds: tuple[str, ...]) -> Workload:
    readers: dict[str, Reader] = {
        "rate": number(0),
        "duration": duration,
        "mix": partial(_mix, kinds=kinds),
        "arrivals": one_of([it.value for it in Arrivals]),
        "burst": integer(1),
        "rate_to": number(0),
    }
    found = renamed(table(node, readers), {"duration": "duration_s"})
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
    if "every" in found and "count" not in found:
        raise Mistake(node, "'every' needs 'count': how many of them?")
    is_targeted = name in words.targeted
    if is_targeted != ("target" in found):
        raise Mistake(node, (TARGETED if is_targeted else UNTARGETED).format(name))
    if "for" in found and name in words.momentary:
        raise Mistake(node, MOMENTARY.format(name))
    names = {"at": "at_s", "every": "every_s", "jitter": "jitter_s", "every_jitter": "jitter_s", "for": "for_s"}
    timing = renamed({key: value for key, value in found.items() if key in when}, names)
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
            found[field.name.removesuffix("_s")] = field.name, shift if _may_be_negative(field) else duration
        elif field.name.endswith("_bytes"):
            found[field.name.removesuffix("_bytes")] = field.name, size
        else:
            found[field.name] = field.name, anything
    return found


def _may_be_negative(field: msgspec.structs.FieldInfo) -> bool:
    kind = msgspec.inspect.type_info(field.type)
    return isinstance(kind, msgspec.inspect.FloatType) and kind.ge is not None and kind.ge < 0


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
    return StopWhen(**renamed(table(node, readers), {"gateway_down": "gateway_down_s"}))
