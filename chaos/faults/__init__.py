"""Faults: one file each, with its undo.  ``FAULTS`` has them by name; docs/chaos-faults.md is their catalogue, and says how to add one."""

import re
from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec
import msgspec.inspect

from regrow.chaos.faults.base import Fault
from regrow.chaos.faults.clock_offset import ClockOffset
from regrow.chaos.faults.cpu_hog import CpuHog
from regrow.chaos.faults.disk_full import DiskFull
from regrow.chaos.faults.fd_exhaust import FdExhaust
from regrow.chaos.faults.frame_corrupt import FrameCorrupt
from regrow.chaos.faults.frame_drop import FrameDrop
from regrow.chaos.faults.frame_dup import FrameDup
from regrow.chaos.faults.frame_reorder import FrameReorder
from regrow.chaos.faults.interrupt import Interrupt
from regrow.chaos.faults.kill import Kill
from regrow.chaos.faults.kill_group import KillGroup
from regrow.chaos.faults.mem_hog import MemHog
from regrow.chaos.faults.net_bandwidth import NetBandwidth
from regrow.chaos.faults.net_cut import NetCut
from regrow.chaos.faults.net_delay import NetDelay
from regrow.chaos.faults.net_flap import NetFlap
from regrow.chaos.faults.net_one_way import NetOneWay
from regrow.chaos.faults.net_reset import NetReset
from regrow.chaos.faults.net_slice import NetSlice
from regrow.chaos.faults.payload_corrupt import PayloadCorrupt
from regrow.chaos.faults.start_fail import StartFail
from regrow.chaos.faults.start_slow import StartSlow
from regrow.chaos.faults.stop import Stop
from regrow.chaos.faults.store_disconnect import StoreDisconnect
from regrow.chaos.faults.store_flush_scripts import StoreFlushScripts
from regrow.chaos.faults.store_kill import StoreKill
from regrow.chaos.faults.store_memory import StoreMemory
from regrow.chaos.faults.store_pause import StorePause
from regrow.chaos.faults.store_stop import StoreStop
from regrow.chaos.faults.stutter import Stutter
from regrow.chaos.faults.task_poison import TaskPoison
from regrow.chaos.faults.term import Term
from regrow.chaos.scene import Need
from regrow.runtime.errors import ConfigError

AnyFault = (
    ClockOffset
    | CpuHog
    | DiskFull
    | FdExhaust
    | FrameCorrupt
    | FrameDrop
    | FrameDup
    | FrameReorder
    | Interrupt
    | Kill
    | KillGroup
    | MemHog
    | NetBandwidth
    | NetCut
    | NetDelay
    | NetFlap
    | NetOneWay
    | NetReset
    | NetSlice
    | PayloadCorrupt
    | StartFail
    | StartSlow
    | Stop
    | StoreDisconnect
    | StoreFlushScripts
    | StoreKill
    | StoreMemory
    | StorePause
    | StoreStop
    | Stutter
    | TaskPoison
    | Term
)

FAULTS: Final[dict[str, type[Fault]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyFault)}
TARGETED: Final = frozenset(name for name, kind in FAULTS.items() if Need.VICTIM in kind.needs)
MOMENTARY: Final = frozenset(name for name, kind in FAULTS.items() if not kind.lasts())

MISSING: Final = re.compile("Object missing required field `(.*)`")
BOUNDS: Final = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
WORDS: Final[dict[type, str]] = {
    msgspec.inspect.IntType: "a whole number",
    msgspec.inspect.FloatType: "a number",
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.StrType: "text",
}


def parse(name: str, options: Mapping[str, Any]) -> Fault:
    """The fault of that name with those options.  Raises ConfigError that names the key and the fix."""
    kind = FAULTS.get(name)
    if kind is None:
        raise ConfigError(f"there is no fault {name!r}; use one of {', '.join(sorted(FAULTS))}")
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explained(str(error), kind)}") from None


def _explained(error: str, kind: type[Fault]) -> str:
    """What msgspec says, with the key in front and what could be said instead behind."""
    problem, _, place = error.partition(" - at `$.")
    key = place.rstrip("`")
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if key not in known:
        if missing := MISSING.match(problem):
            return f"it needs {missing[1]!r} (options: {', '.join(known)})"
        return f"{problem[:1].lower()}{problem[1:]} (options: {', '.join(known) or 'none'})"
    match msgspec.inspect.type_info(known[key].type):
        case msgspec.inspect.EnumType(cls):
            wanted = f"one of {', '.join(str(one.value) for one in cls)}"
        case msgspec.inspect.LiteralType(values):
            wanted = f"one of {', '.join(map(str, values))}"
        case other:
            wanted = _wanted(other)
    return f"{key}: {wanted} is wanted here"


def _wanted(kind: msgspec.inspect.Type) -> str:
    """A type with its bounds, in words."""
    bounds = [f"{word} {most:g}" for name, word in BOUNDS.items() if (most := getattr(kind, name, None)) is not None]
    return " ".join([WORDS.get(type(kind), "something else"), *bounds])
