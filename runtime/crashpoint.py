"""Shell: points at which a process can be made to die, so that its recovery can be tried at every one of them.

``REGROW_CRASH_AT`` names a file. As long as there is one, it says ``POINT N``: the process that comes by that point for
the N-th time from then on moves it to ``FILE.fired``, with its pid, and kills itself. So whoever starts it again has it
live, and a test arms a running process by putting the file there. A guarded call has two points: ``NAME.before``, and
``NAME.after`` once it has returned.

Without the variable ``guarded`` gives the call back as it is: then there are no points, and they cost nothing.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

VARIABLE: Final = "REGROW_CRASH_AT"

CallT = TypeVar("CallT", bound=Callable[..., Any])


def guarded(call: CallT, name_of: Callable[..., str]) -> CallT:
    """``call`` between its two points, if this process was started with the variable; ``name_of`` takes its arguments."""
    place = os.environ.get(VARIABLE)
    if not place:
        return call
    file = Path(place)

    def between_points(*args: Any, **kwargs: Any) -> Any:
        name = name_of(*args, **kwargs)
        pass_by(f"{name}.before", file)
        answer = call(*args, **kwargs)
        pass_by(f"{name}.after", file)
        return answer

    return cast("CallT", between_points)


def pass_by(point: str, file: Path) -> None:
    """Die here, if the file says so."""
    try:
        wanted, _, passes = file.read_text().partition(" ")
    except FileNotFoundError:
        return
    if wanted != point:
        return
    if int(passes) > 1:
        arm(file, point, int(passes) - 1)
        return
    spent = file.with_suffix(".spent")
    file.rename(spent)
    spent.write_text(f"{point} {os.getpid()}")
    spent.rename(fired_file(file))
    os.kill(os.getpid(), signal.SIGKILL)


def arm(file: Path, point: str, passes: int = 1) -> None:
    """Have a process die when it comes by this point for the ``passes``-th time from now on."""
    draft = file.with_suffix(".draft")
    draft.write_text(f"{point} {passes}")
    draft.rename(file)


def fired_file(file: Path) -> Path:
    """Where the file is once it has fired."""
    return file.with_name(file.name + ".fired")
