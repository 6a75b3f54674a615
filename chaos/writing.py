"""Core: an experiment as its file: what ``reading`` reads as the same experiment again."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec
import yaml

from regrow.chaos.experiment import Action, Expectations, Experiment, Tolerance

NAMES: Final = {"hypothesis": "steady-state-hypothesis", "doing": "while"}
WIDTH: Final = 120  # columns
Faults = Mapping[str, type[msgspec.Struct]]


def written(experiment: Experiment, faults: Faults) -> str:
    """YAML, without what goes without saying. ``faults``: by name, for the names of their options."""
    lines = [_action(action, faults[action.fault]) for action in experiment.method]
    document = {"version": 1, **_plain(experiment), "method": lines}
    return yaml.safe_dump(document, sort_keys=False, width=WIDTH, allow_unicode=True)


def _plain(value: Any) -> Any:
    """As YAML has it."""
    match value:
        case Tolerance():
            return _tolerance(value)
        case Expectations():
            return _expectations(value)
        case msgspec.Struct():
            return _table(_said(value))
        case Enum():
            return value.value
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value


def _said(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields that are not as they are anyway; an empty table would be odd, so the first one always."""
    fields = msgspec.structs.fields(struct)
    values = msgspec.structs.asdict(struct)
    return {
        field.name: values[field.name]
        for field in fields
        if field is fields[0] or values[field.name] != _default(field)
    }


def _table(found: Mapping[str, Any]) -> dict[str, Any]:
    """By the keys of a file, which have no units."""
    table: dict[str, Any] = {}
    for name, value in found.items():
        if name.endswith("_s"):
            table[name.removesuffix("_s")] = duration(value)
        else:
            table[NAMES.get(name, name.removesuffix("_bytes"))] = _plain(value)
    return table


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _action(action: Action, fault: type[msgspec.Struct]) -> dict[str, Any]:
    """``jitter`` is the fault's own where it has one."""
    found = _plain(msgspec.structs.replace(action, options={}))
    if "jitter_s" in fault.__struct_fields__ and "jitter" in found:
        found["every_jitter"] = found.pop("jitter")
    if action.every_s is not None:
        found["count"] = action.count
    return {**found, **_table(action.options)}


def _tolerance(tolerance: Tolerance) -> Any:
    if tolerance.kind == "any_of":
        return list(tolerance.value)
    key = {"range": "range", "regex": "pattern"}.get(tolerance.kind, "value")
    target = {"target": tolerance.target} if tolerance.target else {}
    return {"type": tolerance.kind, key: _plain(tolerance.value), **target}


def _expectations(expect: Expectations) -> dict[str, Any]:
    invariants = [name if bound is None else {name: duration(bound)} for name, bound in expect.invariants.items()]
    recovery = {name: duration(bound) for name, bound in expect.recovery.items()}
    found = {"invariants": invariants, "recovery": recovery, "must_hit": dict(expect.must_hit)}
    return {key: value for key, value in found.items() if value}


def duration(seconds: float) -> str | float:
    """With its unit, where that says the same."""
    text = f"{seconds:.9g}"
    return f"{text}s" if float(text) == seconds and "e" not in text else seconds
