"""Functions that tests send to slots: by value, so that no slot needs this module."""
# ruff: noqa: T201

import types
from collections.abc import Callable
from typing import Any

import dill


def by_value(function: Callable[..., Any]) -> bytes:
    """The function's pickle, with no reference to the module that it is defined in."""
    alone = types.FunctionType(
        function.__code__,
        {"__builtins__": __builtins__},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    alone.__module__ = "__main__"
    return bytes(dill.dumps(alone, recurse=True))


def call(*args: Any, **kwargs: Any) -> bytes:
    """The pickle of a call's parameters."""
    return bytes(dill.dumps((args, kwargs)))


def double(number: int) -> int:
    return number * 2


def echo(value: Any) -> Any:
    return value


def nothing() -> None:
    return None


def divide(number: int, by: int) -> float:
    return number / by


def leave_with(code: int) -> None:
    import os

    os._exit(code)


def kill_with(number: int) -> None:
    import os

    os.kill(os.getpid(), number)


def kill_group() -> None:
    import os
    import signal

    os.killpg(0, signal.SIGKILL)


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


def spin(path: str) -> None:
    """Never ends, and says in a file that it runs."""
    import os
    from pathlib import Path

    Path(path).write_text(str(os.getpid()))
    while True:
        pass


def wait_for(path: str, started: str) -> int:
    """Says in a file that it runs, and ends when another file is there; its pid."""
    import os
    import time
    from pathlib import Path

    with open(started, "a") as file:
        file.write(f"{os.getpid()}\n")
    while not Path(path).exists():
        time.sleep(0.005)
    return os.getpid()


def note(path: str, text: str) -> int:
    """Appends a line to a file outside; its pid."""
    import os

    with open(path, "a") as file:
        file.write(text + "\n")
    return os.getpid()


def hold_the_interpreter(started: str) -> None:
    """Runs C code that never lets another thread of its process run."""
    import re
    from pathlib import Path

    Path(started).touch()
    re.match(r"(a+)+$", "a" * 40 + "b")


def close_everything() -> str:
    import os

    os.closerange(3, 4096)
    return "closed"


def close_output_and_wait_for(path: str, started: str) -> None:
    """Closes every copy of its output, says so in a file, and ends when another file is there."""
    import os
    import time
    from pathlib import Path

    output = os.fstat(1).st_ino
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.fstat(descriptor).st_ino == output:
                os.close(descriptor)
        except OSError:
            pass
    Path(started).touch()
    while not Path(path).exists():
        time.sleep(0.005)


def write_garbage(data: bytes = b"\xff" * 40) -> str:
    """Writes this into every socket that it finds."""
    import os
    import stat

    for descriptor in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.write(descriptor, data)
        except OSError:
            pass
    return "written"


def make_a_mess() -> None:
    """Changes everything about its process that can be put back."""
    import os
    import signal
    import sys

    global left_behind
    left_behind = "a global"
    vars(sys.modules["__main__"])["left_behind"] = True
    os.makedirs("elsewhere")
    os.chdir("elsewhere")
    os.environ["LEFT"] = "behind"
    del os.environ["PATH"]
    os.umask(0)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.alarm(1)
    sys.path.insert(0, "/nowhere")
    sys.argv.append("more")
    sys.stdout = None


def look_around() -> dict[str, Any]:
    """What a task finds in its process."""
    import os
    import signal
    import sys

    umask = os.umask(0)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "umask": umask,
        "usr1": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
        "int": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "ignored": [int(n) for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN],
        "alarm": signal.alarm(0),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "stdout": sys.stdout is not None,
        "globals": sorted(globals()),
        "main": sorted(vars(sys.modules["__main__"])),
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
        "sid": os.getsid(0) == os.getpid(),
        "modules": sorted(name for name in sys.modules if name.startswith(("zmq", "redis", "structlog"))),
    }


def shout(lines: int) -> None:
    for number in range(lines):
        print("line", number, "x" * 100)


def say(text: str) -> None:
    print(text)


def say_and_wait(text: str, gate: str) -> None:
    import time
    from pathlib import Path

    print(text)
    while not Path(gate).exists():
        time.sleep(0.001)


def say_and_leave(text: str) -> None:
    import os

    os.write(1, text.encode())
    os._exit(0)


def fork_and_return() -> str:
    """Both the original and a forked process come back from it."""
    import os

    return "child" if os.fork() == 0 else "original"


def exit_politely() -> None:
    raise SystemExit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


def recurse() -> Any:
    def deeper() -> object:
        return deeper()

    return deeper()


def raise_two_argument() -> None:
    class TwoArgument(Exception):
        def __init__(self, first: int, second: int) -> None:
            super().__init__(f"{first} and {second}")

    raise TwoArgument(1, 2)


def raise_unsayable() -> None:
    class Unsayable(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    raise Unsayable


def raise_memory_error() -> None:
    raise MemoryError


def raise_surrogate() -> None:
    raise ValueError("half a character: \ud800")


def make_generator() -> Any:
    return (number for number in range(3))


def make_unloadable() -> Any:
    """A value that pickles, and does not load."""

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return int, ("no number",)

    return Trap()


def make_set() -> Any:
    import fractions

    return {fractions.Fraction(1, 3)}


def make_list(length: int) -> list[int]:
    return list(range(length))


def use_missing_module() -> None:
    import a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401


def start_child(path: str) -> None:
    """Leaves a process of the same group behind, and dies."""
    import os
    import signal
    import subprocess
    import sys
    from pathlib import Path

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def import_helper() -> Any:
    """Here and in a fresh Python: what a module of the import path says."""
    import subprocess
    import sys

    import helper_on_the_path  # type: ignore[import-not-found]

    program = "import helper_on_the_path as helper; print(helper.VALUE)"
    return helper_on_the_path.VALUE, subprocess.check_output([sys.executable, "-c", program], text=True).strip()
