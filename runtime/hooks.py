"""Shell: what a chaos process can make a tree of its own do, by files in one private directory that ``REGROW_CHAOS`` names.

::

    run/                  the tree's run directory, so that its sockets are where they are expected
    addresses/NAME        written by the tree: where a part listens that picks its own address
    links/NAME.sock       if it is there at launch, a part connects to it instead of going straight (see ``through``)
    start/ROLE.slow       seconds by which every start of such an actor is late
    start/ROLE.fail.N     one start of such an actor fails, and takes the file with it
    clock                 seconds by which wall time is wrong (see ``clock``)
    slow_death            if it is there when a supervisor starts, it notices a child's death by silence only

Without the variable nothing of this is looked for.  Slots never see it (``actors/slot_process.py`` names what they may).
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from regrow.runtime.errors import RegrowError

VARIABLE: Final = "REGROW_CHAOS"


class StartRefused(RegrowError):
    """A start that fails on purpose."""

    code = "start_refused"


def directory() -> Path | None:
    """What the variable names; None in all ordinary life."""
    place = os.environ.get(VARIABLE)
    return Path(place) if place else None


def through(link: str, address: str) -> str:
    """What to connect to instead of ``address``, in the same kind of words."""
    place = directory()
    if place is None or not (socket := place / "links" / f"{link}.sock").exists():
        return address
    is_store = address.partition("://")[0] in ("unix", "redis", "rediss")
    return f"unix://{socket}" if is_store else f"ipc://{socket}"


def publish(name: str, address: str) -> None:
    """Tell where this part listens."""
    if (place := directory()) is not None:
        folder = place / "addresses"
        folder.mkdir(mode=0o700, exist_ok=True)
        draft = folder / f"{name}.new"
        draft.write_text(address)
        draft.rename(folder / name)


def start_of(role: str) -> None:
    """An actor of this role starts: late, or not at all.  Raises StartRefused."""
    place = directory()
    if place is None:
        return
    with suppress(FileNotFoundError):
        time.sleep(float((place / "start" / f"{role}.slow").read_text()))
    for file in sorted((place / "start").glob(f"{role}.fail.*")):
        with suppress(FileNotFoundError):  # another start took it
            file.unlink()
            raise StartRefused(f"this start of a {role} fails on purpose ({VARIABLE})")


def offset_s() -> float:
    """How wrong wall time is to be."""
    place = directory()
    if place is not None:
        with suppress(FileNotFoundError, ValueError):
            return float((place / "clock").read_text())
    return 0.0


def has_slow_death() -> bool:
    """Is a child's death to be noticed by its silence only?"""
    place = directory()
    return place is not None and (place / "slow_death").exists()
