"""Faults: one file each, with its undo.  ``FAULTS`` has them by name; docs/chaos-faults.md is their catalogue, and says how to add one."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from regrow.chaos.faults.base import Fault
from regrow.chaos.faults.kill import Kill
from regrow.chaos.faults.stop import Stop
from regrow.runtime.errors import ConfigError

AnyFault = Kill | Stop

FAULTS: Final[dict[str, type[Fault]]] = {str(kind.__struct_config__.tag): kind for kind in AnyFault.__args__}


def parse(name: str, options: Mapping[str, Any]) -> Fault:
    """The fault of that name with those options.  Raises ConfigError that names the key and the fix."""
    kind = FAULTS.get(name)
    if kind is None:
        raise ConfigError(f"there is no fault {name!r}; use one of {', '.join(sorted(FAULTS))}")
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$.")
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind)) or "none"
        key = f"{where.rstrip('`')}: " if where else ""
        raise ConfigError(f"{name}: {key}{problem[:1].lower()}{problem[1:]} (options: {known})") from None
