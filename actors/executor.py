"""Shell: a slot, the process that runs user code, one task at a time: ``python -P -m regrow.actors.executor``.

Its worker starts it with a clean environment, in a private directory, as leader of a session of its own, with no open
descriptors but 0, 1, 2, its socket and a duplicate of 1. It dies with its worker. ``__main__`` is an empty module here, made anew when a
task has changed it, and functions are loaded anew for every task, so globals do not pass from one task to the next.
Modules that tasks import stay imported, as in any Python process.

Directories to import user code from come first in ``PYTHONPATH``, so that they hold for the processes that user code
starts as well. A module there that hides one that this process needs shows at once, as a slot that does not start.
"""

import _signal  # type: ignore[import-not-found]
import builtins
import faulthandler
import fcntl
import hashlib
import os
import signal
import socket
import sys
import termios
import types
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import dill  # type: ignore[import-untyped]
import msgspec
import setproctitle

from regrow.actors import execution, output, packets, pipe, verdicts
from regrow.actors.bounds import UNLIMITED, Bounds
from regrow.actors.cache import CodeCache
from regrow.runtime.process import become_subreaper, die_with_parent, end_children

SIGNALS: Final = tuple(sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))
Handler = Callable[[int, types.FrameType | None], Any] | int | None
CHILDREN_S: Final = 1.0  # how long the end of what a task has left may take
OOM_SCORE: Final = "1000"  # of what to kill first when the machine has no memory left: user code, and nothing else
BROKEN: Final = 70  # exit code: the socket to the worker no longer works


class Surroundings:
    """What a task finds and may change in its process, put back as it was after each task."""

    def __init__(self) -> None:
        self._directory = Path.cwd()
        self._environment = dict(_environment())
        self._path = list(sys.path)
        self._argv = list(sys.argv)
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._handlers = _handlers()
        self._main: dict[str, object] = {}
        self._renew_main()

    def restore(self) -> None:
        """Undo what the last task left. Cheap when it left nothing."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, now, before in zip(SIGNALS, _handlers(), self._handlers, strict=True):
            if now is not before and before is not None:
                signal.signal(number, before)
        os.umask(0o077)
        if _environment() != self._environment:
            self._restore_environment()
        sys.stdin, sys.stdout, sys.stderr = self._streams
        if sys.path != self._path:
            sys.path[:] = self._path
        sys.argv[:] = self._argv
        main = sys.modules.get("__main__")
        if main is None or vars(main) != self._main:
            self._renew_main()
        self._return_home()

    def _restore_environment(self) -> None:
        before = {os.fsdecode(name): os.fsdecode(value) for name, value in self._environment.items()}
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)

    def _renew_main(self) -> None:
        """An empty ``__main__``; dill keeps a reference of its own."""
        main = types.ModuleType("__main__")
        vars(main)["__builtins__"] = builtins
        sys.modules["__main__"] = main
        dill._dill._main_module = main  # noqa: SLF001 (dill offers no other way)
        self._main = dict(vars(main))

    def _return_home(self) -> None:
        try:
            if os.getcwd() == str(self._directory):  # noqa: PTH109 (every task pays for it)
                return
        except OSError:
            self._directory.mkdir(parents=True, exist_ok=True)
        os.chdir(self._directory)


class Margin:
    """The pipe that takes what is printed, marked where one turn's output ends.

    What the worker has read by the end of a turn needs no mark: it reads the turn's answer afterwards. So the many
    turns that print nothing cost one question to the kernel, and nothing is written.
    """

    def __init__(self) -> None:
        self._pipe = os.dup(sys.__stdout__.fileno())  # type: ignore[union-attr]  # user code may redirect the original
        self._unread = bytearray(4)

    def mark(self, turn: int) -> bool:
        """The flushed output of ``turn`` ends here; was a mark needed?  Raises OSError when user code has closed the pipe."""
        fcntl.ioctl(self._pipe, termios.FIONREAD, self._unread)
        if not any(self._unread):
            return False
        os.write(self._pipe, output.mark(turn))
        return True


def _environment() -> dict[bytes, bytes]:
    """The live dictionary under os.environ; a copy by its public face costs as much as a whole task."""
    live: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001
    return live


def _handlers() -> list[Handler]:
    """Of every signal; the C function, because the public one takes as long as a whole task for all of them."""
    return list(map(_signal.getsignal, SIGNALS))


def serve(end: socket.socket, max_bytes: int) -> None:
    """Take calls and answer each at once, until the worker closes its end.

    What a call has started is killed before its answer, so that nothing of it is left beside the next one.
    """
    me = os.getpid()
    cache = CodeCache(packets.SLOT_CACHE_BYTES)
    surroundings = Surroundings()
    margin = Margin()
    pipe.send(end, packets.READY_NUMBER, packets.encode(packets.Ready()))
    while (packet := pipe.receive(end, 4 * max_bytes)) is not None:
        number, body = packet
        call = packets.decode_call(body)
        bounds = UNLIMITED if call.limits is None else Bounds(call.limits)
        answer = answer_to(call, cache, max_bytes, bounds)
        if os.getpid() != me:
            os._exit(0)  # a process that the function forked has come back from it: only the original may answer
        is_alone = end_children(CHILDREN_S)
        flush()
        surroundings.restore()
        answer = completed(answer, bounds, margin.mark(number))
        pipe.send(end, number, packets.encode(answer))
        if not is_alone:
            os._exit(BROKEN)  # a process that cannot be killed hangs in the kernel: the worker adopts it


def answer_to(call: packets.Call, cache: CodeCache, max_bytes: int, bounds: Bounds) -> packets.Answer:
    """Run a call, unless its function is neither with it nor here: the worker may have stolen the packet that had it."""
    code = call.code if call.code is not None else cache.get(call.digest)
    if code is None:
        return packets.CodeMissing()
    if call.digest not in cache and (found := hashlib.sha256(code).hexdigest()) != call.digest:
        return packets.Ended(None, verdicts.corrupt("the function", call.digest, found), 0.0)
    cache.put(call.digest, code)
    if call.checksum is not None and (sum_found := zlib.crc32(call.params)) != call.checksum:
        return packets.Ended(None, verdicts.corrupt("the parameters", f"{call.checksum:08x}", f"{sum_found:08x}"), 0.0)
    return execution.run(code, call.params, max_bytes, bounds)


def completed(answer: packets.Answer, bounds: Bounds, is_marked: bool) -> packets.Answer:
    """With what is known only now, when all that the call had started has ended."""
    if not isinstance(answer, packets.Ended):
        return answer
    if answer.failure is None and (failure := bounds.overrun(answer.ran_s)) is not None:
        return packets.Ended(None, failure, answer.ran_s, None, is_marked)
    return msgspec.structs.replace(answer, is_marked=True) if is_marked else answer


def flush() -> None:
    """Let printed text out. User code may have closed the streams, or replaced them by anything."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def settle_in(parent: int, title: str) -> None:
    """Die with the parent, and start from Python's default signal behaviour."""
    die_with_parent(parent)
    become_subreaper()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in SIGNALS:
        if number not in (signal.SIGPIPE, signal.SIGXFSZ):  # Python itself ignores these
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable()
    setproctitle.setproctitle(title)


def main() -> NoReturn:
    """Arguments: the socket's descriptor, the worker's pid, the largest payload in bytes, the process title."""
    descriptor, parent, max_bytes, title = sys.argv[1:]
    settle_in(int(parent), title)
    sys.argv[:] = ["regrow-slot"]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)
    try:
        serve(end, int(max_bytes))
    except OSError as error:
        with suppress(OSError):  # that may be closed as well
            sys.stderr.write(f"regrow: the slot's socket no longer works: {error}\n")
        os._exit(BROKEN)
    sys.exit(0)


if __name__ == "__main__":
    main()
