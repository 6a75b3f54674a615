"""Shell: user code, run: load a function and its parameters, call it, and make its value or exception travel.

Whatever user code does that Python can catch ends as one ``Ended``, never as an exception of ``run``.

How a value is pickled: data made of Python's own plain types by the C pickler, which is fast, always loads again, and
needs no check. Everything else in the dialect of the function's own payload (cloudpickle if it was made by it, else
dill), and then loaded once here, because a pickle that its reader cannot load is no result.
"""

import io
import pickle
import time
import traceback
import zlib
from typing import Any, Final

import dill  # type: ignore[import-untyped]

from regrow.actors import verdicts
from regrow.actors.bounds import UNLIMITED, Bounds
from regrow.actors.packets import Ended
from regrow.actors.task import Failure, FailureKind

PROTOCOL: Final = 4  # of pickle; every supported Python reads it
MAX_TEXT: Final = 64 * 1024  # characters of a message or a traceback
MAX_BASES: Final = 32  # of an exception's class, that are told
REMEDY: Final = (
    "start the worker with --import-path DIR, where DIR holds it, "
    "or send the function by value, as regrow's client does"
)


class Refusal(Exception):
    """The task ends here. Its failure is made later, when no limit is in force: making it takes memory and files."""

    def __init__(self, kind: FailureKind, cause: BaseException | str, message: str) -> None:
        """``cause``: the exception, or the name to give where there is none."""
        super().__init__(message)
        self.kind = kind
        self.cause = cause if isinstance(cause, BaseException) else None
        self.name = cause if isinstance(cause, str) else type_name(cause)
        self.message = message

    def failure(self, is_cloudpickle: bool, max_bytes: int) -> Failure:
        """As data; the function's own exception with its pickle, where that is possible."""
        message = clip(self.message)
        if self.cause is None:
            return Failure(self.kind, self.name, message)
        is_raised = self.kind is FailureKind.RAISED
        packed = _pickle_of(self.cause, is_cloudpickle, max_bytes) if is_raised else None
        return Failure(self.kind, self.name, message, trace_of(self.cause), packed, type_names(self.cause))


class _NotPlain(Exception):
    """The value holds something that the plain pickler leaves to the dialects."""


class _PlainPickler(pickle.Pickler):
    """Pickles exact built-in data types only. The C code asks ``reducer_override`` about everything else."""

    def reducer_override(self, obj: object) -> Any:
        raise _NotPlain(type(obj))


def run(code: bytes, params: bytes, max_bytes: int, bounds: Bounds = UNLIMITED) -> Ended:
    """One call from bytes to bytes. ``max_bytes`` bounds what may come back."""
    started = time.perf_counter()
    value, failure = None, None
    is_cloudpickle = b"cloudpickle" in code
    try:
        with bounds:
            value = _value_of(code, params, is_cloudpickle, max_bytes, bounds.limits.output_bytes)
    except Refusal as refusal:
        failure = bounds.meaning(refusal.cause) or refusal.failure(is_cloudpickle, max_bytes)
    except MemoryError as error:  # there was not even enough to say so
        failure = bounds.meaning(error) or Failure(FailureKind.RAISED, type_name(error), say(error))
    return Ended(value, failure, time.perf_counter() - started, None if value is None else zlib.crc32(value))


def _value_of(code: bytes, params: bytes, is_cloudpickle: bool, max_bytes: int, output_bytes: int | None) -> bytes:
    function = _load(code, "the function")
    if not callable(function):
        text = f"the function's pickle holds a {type_name(function)}, which cannot be called"
        raise Refusal(FailureKind.UNLOADABLE, "NotCallable", text)
    args, kwargs = _arguments(_load(params, "the parameters"))
    try:
        value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 (user code may raise anything, SystemExit too)
        raise Refusal(FailureKind.RAISED, error, say(error)) from None
    packed = _pack(value, is_cloudpickle, max_bytes)
    if output_bytes is not None and len(packed) > output_bytes:
        text = verdicts.exceeded("output_bytes", output_bytes, len(packed)).message
        raise Refusal(FailureKind.LIMIT, "output_bytes", text)
    return packed


def _load(data: bytes, what: str) -> Any:
    try:
        return dill.loads(data)
    except ModuleNotFoundError as error:
        text = f"{what}: module {error.name!r} cannot be imported by this worker ({say(error)}); {REMEDY}"
        raise Refusal(FailureKind.UNLOADABLE, error, text) from None
    except AttributeError as error:
        text = f"{what}: a name in the pickle is not there ({say(error)}); is it the same version? Else {REMEDY}"
        raise Refusal(FailureKind.UNLOADABLE, error, text) from None
    except BaseException as error:  # noqa: BLE001 (loading runs user code)
        raise Refusal(FailureKind.UNLOADABLE, error, f"{what}: {type_name(error)}: {say(error)}") from None


def _arguments(params: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """``((args...), {kwargs})`` taken apart."""
    match params:
        case (tuple() | list() as args, dict() as kwargs) if all(isinstance(name, str) for name in kwargs):
            return tuple(args), kwargs
    raise Refusal(FailureKind.UNLOADABLE, "NotArguments", "the parameters are not ((positional...), {keyword: ...})")


def _pack(value: object, is_cloudpickle: bool, max_bytes: int) -> bytes:
    """The value's pickle.  Raises Refusal where it cannot travel."""
    try:
        packed = dumps(value, is_cloudpickle)
    except BaseException as error:  # noqa: BLE001 (pickling runs user code)
        text = f"the value, a {type_name(value)}, cannot be pickled and loaded again: {type_name(error)}: {say(error)}"
        raise Refusal(FailureKind.UNPICKLABLE, error, text) from None
    if len(packed) > max_bytes:
        text = f"the value, a {type_name(value)}, is {len(packed)} bytes when pickled; the limit is {max_bytes}"
        raise Refusal(FailureKind.UNPICKLABLE, "TooLarge", f"{text} (max_payload_bytes)")
    return packed


def dumps(value: object, is_cloudpickle: bool) -> bytes:
    """A pickle that is known to load.  Raises whatever pickling or loading raises."""
    try:
        buffer = io.BytesIO()
        _PlainPickler(buffer, PROTOCOL).dump(value)
        return buffer.getvalue()
    except _NotPlain:
        packed = _in_dialect(value, is_cloudpickle)
        dill.loads(packed)
        return packed


def _in_dialect(value: object, is_cloudpickle: bool) -> bytes:
    if is_cloudpickle:
        import cloudpickle  # type: ignore[import-untyped]  # costs 20 ms, and few slots need it

        try:
            return bytes(cloudpickle.dumps(value, protocol=PROTOCOL))
        except BaseException:  # noqa: BLE001, S110 (user code; dill's error is the one to tell)
            pass
    return bytes(dill.dumps(value, protocol=PROTOCOL))


def _pickle_of(error: BaseException, is_cloudpickle: bool, max_bytes: int) -> bytes | None:
    """None where there is none: type, message and traceback still travel."""
    try:
        packed = dumps(error, is_cloudpickle)
    except BaseException:  # noqa: BLE001 (pickling runs user code)
        return None
    return packed if len(packed) <= max_bytes else None


def type_names(error: BaseException) -> tuple[str, ...]:
    """Of its class and of the bases of that, which are user code's; without those that every exception has."""
    kinds = [kind for kind in type(error).__mro__ if kind not in (object, BaseException)]
    return tuple(name_of(kind) for kind in kinds[:MAX_BASES])


def type_name(value: object) -> str:
    """``ZeroDivisionError``, ``package.module.Class``."""
    return name_of(type(value))


def name_of(kind: type) -> str:
    """Of a class: without its module, where that is the language itself or the sender's script."""
    name = clip(f"{kind.__module__}.{kind.__qualname__}")
    return name.removeprefix("builtins.").removeprefix("__main__.")


def say(error: BaseException) -> str:
    """``str(error)``, which is user code."""
    try:
        return clip(str(error))
    except BaseException as worse:  # noqa: BLE001 (user code)
        return f"<its text cannot be made: {type(worse).__name__}>"


def trace_of(error: BaseException) -> str:
    """The traceback as text, without the frames of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        return clip("".join(traceback.format_exception(type(error), error, trace)))
    except BaseException as worse:  # noqa: BLE001 (formatting runs user code)
        return f"{type(error).__name__} (its traceback cannot be made: {type(worse).__name__})"


def clip(text: str) -> str:
    """Text that can travel: of bounded length, the end of it kept, and valid UTF-8."""
    if len(text) > MAX_TEXT:
        text = f"... {text[-MAX_TEXT:]}"
    return text.encode("utf-8", "backslashreplace").decode()
