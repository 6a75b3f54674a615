"""Functions that use time, memory, files, processes and output, so much as they are told: by value, as in ``functions``."""
# ruff: noqa: T201

from typing import Any


def sleep(seconds: float) -> str:
    import time

    time.sleep(seconds)
    return "slept"


def stay(started: str, is_in_c: bool) -> None:
    """Starts a child, one in a session of its own and a detached grandchild, writes down all pids, and never ends."""
    import os
    import re
    import signal
    import subprocess
    import sys

    child = subprocess.Popen(["sleep", "1000"])
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    detach = (
        "import os, signal, sys\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "os.close(1)\n"
        "signal.pause()\n"
    )
    daemon = subprocess.run([sys.executable, "-c", detach], stdout=subprocess.PIPE, check=True, text=True).stdout
    with open(started + ".new", "w") as file:
        file.write(f"{os.getpid()} {child.pid} {stranger.pid} {daemon}")
    os.rename(started + ".new", started)
    if is_in_c:
        re.match(r"(a+)+$", "a" * 40 + "b")
    while True:
        signal.pause()


def leave(started: str) -> str:
    """Starts what ``stay`` starts, and returns."""
    import os
    import signal
    import subprocess
    import sys

    child = subprocess.Popen(["sleep", "1000"])
    stranger = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    detach = (
        "import os, signal, sys\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): signal.pause()\n"
        "print(os.getpid(), flush=True)\n"
        "os.close(1)\n"
        "signal.pause()\n"
    )
    out = subprocess.Popen([sys.executable, "-c", detach], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert out.stdout is not None
    daemon = out.stdout.readline()
    with open(started, "w") as file:
        file.write(f"{child.pid} {stranger.pid} {out.pid} {daemon}")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return f"left by {os.getpid()}"


def is_alone() -> list[str]:
    """The children that a task finds at its start."""
    import os

    return [
        child
        for task in os.listdir("/proc/self/task")
        for child in open(f"/proc/self/task/{task}/children").read().split()
    ]


def hold_memory(size: int) -> int:
    """In one piece, all of it written to."""
    return len(bytearray(b"x") * size)


def hold_memory_in_pieces(size: int) -> int:
    """In small objects, so that there is nothing left where the limit is met."""
    return len([bytes([number % 256]) * 1000 for number in range(size // 1024)])


def hold_memory_with_children(own: int, of_each: int, children: int) -> str:
    """Until they have all of it, and for a while."""
    import subprocess
    import sys
    import time

    mine = bytearray(b"x") * own
    program = f"x = bytearray(b'x') * {of_each}; print('has it', flush=True); input()"
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, "-S", "-c", program], **pipes) for _ in range(children)]
    for child in started:
        child.stdout.readline()
    time.sleep(1.5)
    for child in started:
        child.communicate("\n")
    return f"{len(mine)} and more"


def burn(seconds: float) -> str:
    """CPU time of this process."""
    import time

    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return "burnt"


def burn_in_child(seconds: float) -> str:
    """CPU time of a child that nobody waits for before it ends."""
    import subprocess
    import sys

    program = f"import time\nwhile time.process_time() < {seconds}: pass"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
    return "burnt"


def open_files(count: int) -> str:
    files = [open("/dev/null") for _ in range(count)]  # noqa: SIM115 (they are to be open at the same time)
    return f"{len(files)} were open"


def write_file(size: int) -> int:
    with open("large", "wb") as file:
        return file.write(b"x" * size)


def start_processes(count: int) -> str:
    """All alive at once, for a second."""
    import subprocess
    import time

    started = [subprocess.Popen(["sleep", "100"]) for _ in range(count)]
    time.sleep(1.0)
    for child in started:
        child.kill()
        child.wait()
    return f"{count} had started"


def give_bytes(size: int) -> bytes:
    return b"x" * size


def print_bytes(size: int) -> str:
    print("x" * (size - 1), flush=True)
    return "printed"


def print_for_ever() -> None:
    while True:
        print("x" * 1000, flush=True)


def print_both_and(then: str) -> str:
    """Something on each of its two streams, and then ..."""
    import ctypes
    import os
    import sys
    import time

    print("to standard output", flush=True)
    print("to standard error", file=sys.stderr, flush=True)
    if then == "crash":
        ctypes.string_at(0)
    if then == "leave":
        os._exit(3)
    if then == "sleep":
        time.sleep(1000)
    if then == "raise":
        raise ValueError("as it was told")
    return "done"


def print_number_and_say(number: int) -> int:
    """Half of them print nothing."""
    if number % 2:
        print(f"<{number}>")
    return number


def print_much(size: int) -> str:
    print("the beginning")
    print("x" * size)
    print("the end")
    return "done"


def soft_limits() -> list[int]:
    """As a task finds them."""
    import resource

    kinds = (resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
    return [resource.getrlimit(kind)[0] for kind in kinds]


def oom_score() -> int:
    return int(open("/proc/self/oom_score_adj").read())


def raise_missing_key() -> None:
    {}["nothing"]
