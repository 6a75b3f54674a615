"""Core: how a task ends that used more than it may: the failures, in the words that its owner reads.

The slot and its worker hold limits each where they can, and say the same. ``Failure.type`` is the name of the limit.
"""

from typing import Final

from regrow.actors.task import Failure, FailureKind

MIB: Final = 2**20
UNITS: Final = {
    "cpu_s": "s of CPU time, with all that it started",
    "open_files": "open files beside the slot's own",
    "file_bytes": "bytes in one file",
    "processes": "processes alive below it",
    "output_bytes": "bytes of output",
}


def ran_too_long(wall_s: float) -> Failure:
    """Its time is over."""
    text = (
        f"it ran for longer than {wall_s:g} s (wall_s): it was ended, with all that it had started; {_remedy('wall_s')}"
    )
    return Failure(FailureKind.TIMED_OUT, "wall_s", text)


def deadline_passed(deadline_s: float, *, has_started: bool) -> Failure:
    """Its time was over ``deadline_s`` after its worker had it."""
    done = "it was ended, with all that it had started" if has_started else "it was not started"
    text = f"its deadline came, {max(0.0, deadline_s):g} s after its worker had taken it (deadline_s): {done}"
    return Failure(FailureKind.TIMED_OUT, "deadline_s", f"{text}; give it more time, or more workers")


def out_of_memory(limit_bytes: int, peak_bytes: int) -> Failure:
    """By its own limit. ``peak_bytes``: the most that was seen."""
    text = f"it wanted more memory than {size(limit_bytes)} (memory_bytes); it had up to {size(peak_bytes)}"
    return Failure(FailureKind.OOM, "memory_bytes", f"{text}; {_remedy('memory_bytes')}")


def exceeded(name: str, limit: float, used: float | None = None) -> Failure:
    """Any other limit. ``used``: where it is known."""
    use = f"; it used {used:g}" if used is not None else ""
    return Failure(FailureKind.LIMIT, name, f"it may have {limit:g} {UNITS[name]} ({name}){use}; {_remedy(name)}")


def printed_too_much(limit: int, used: int) -> Failure:
    """On its standard output and standard error."""
    text = f"it may print {limit} bytes (output_bytes), and printed {used} or more; {_remedy('output_bytes')}"
    return Failure(FailureKind.LIMIT, "output_bytes", text)


def killed_by_kernel(reason: str, peak_bytes: int, output: str) -> Failure:
    """For want of memory on the machine, or in its container. ``output``: the last that it printed."""
    text = f"the kernel killed its slot, because there was no memory left; the slot had up to {size(peak_bytes)}"
    remedy = "set memory_bytes, use fewer slots, or give the machine or container more memory"
    return Failure(FailureKind.OOM, reason, f"{text}; {remedy}", output)


def crashed(reason: str, verdict: str, output: str) -> Failure:
    """Its slot died under it; ``verdict``: why its worker killed it, "" if it did not."""
    message = "the slot process died while it ran this task"
    if verdict:
        message += f": its worker killed it, because {verdict}"
    return Failure(FailureKind.CRASHED, reason, message, output)


def corrupt(what: str, expected: str, found: str) -> Failure:
    """Bytes that are not those that were accepted."""
    text = (
        f"{what} was damaged since it was accepted: its checksum is {found} and should be {expected}; submit it again"
    )
    return Failure(FailureKind.CORRUPT_PAYLOAD, "ChecksumMismatch", text)


def size(amount: int) -> str:
    """In words that a person compares at a glance."""
    return f"{amount / MIB:.1f} MiB" if amount >= MIB else f"{amount} bytes"


def _remedy(name: str) -> str:
    return f"raise {name} for this task or its function, or have it need less"
