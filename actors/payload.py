"""Core: is this the pickle of a callable, or of a call's parameters?  Decided by form alone; nothing is loaded.

::

    text ──decoded──▶ bytes ──walk──▶ shape ──┬─ check_function ──▶ FunctionManifest   (what it is, modules, warnings)
                                              └─ check_params ────▶ the bytes           (a tuple and a dict, in a tuple)

A payload that is certainly wrong is refused with a ``PayloadError``.  What cannot be told without loading (an instance
that may have ``__call__``, say) is accepted with a warning, and fails in its slot if it is no callable.  Time and
memory are bounded by the length of the payload; above ``SLOW_BYTES`` a check is worth a thread of its own.
"""

import binascii
import sys
from enum import StrEnum
from typing import Final

import msgspec

from regrow.actors.shapes import DATA, TEXT, UNKNOWN, Global, Made, Malformed, Mapping, Shape
from regrow.actors.walk import walk
from regrow.runtime.errors import RegrowError

SLOW_BYTES: Final = 64 * 1024  # about 5 ms of checking, at worst


class Fault(StrEnum):
    """What is wrong with a payload: a closed list, part of the API."""

    EMPTY = "empty"
    NOT_BASE64 = "not_base64"
    NOT_A_PICKLE = "not_a_pickle"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    REFUSED_OPCODE = "refused_opcode"  # persistent ids, extension codes, out-of-band buffers
    TOO_COMPLEX = "too_complex"
    NOT_CALLABLE = "not_callable"
    NOT_ARGS_KWARGS = "not_args_kwargs"


class PayloadError(RegrowError):
    """A payload that cannot be what it is sent as. The text says what to do about it."""

    code = "bad_payload"

    def __init__(self, fault: Fault, finding: str) -> None:
        super().__init__(f"{finding}; {REMEDIES[fault]}")
        self.fault = fault


_DUMP = "send base64.b64encode(dill.dumps(...)) as text (or the raw bytes, in a msgpack body)"
REMEDIES: Final = {
    Fault.EMPTY: _DUMP,
    Fault.NOT_BASE64: _DUMP,
    Fault.NOT_A_PICKLE: _DUMP,
    Fault.TRUNCATED: "send all of it: it was cut on its way here",
    Fault.TRAILING_BYTES: "send one pickle and nothing after it",
    Fault.REFUSED_OPCODE: "pickle it without a persistent_id and without a buffer_callback of your own",
    Fault.TOO_COMPLEX: "send large data as bytes or as an array, or split the work into more tasks",
    Fault.NOT_CALLABLE: "send the pickle of a function, a class or another callable",
    Fault.NOT_ARGS_KWARGS: "send the pickle of ((argument, ...), {'keyword': value, ...})",
}


class FunctionManifest(msgspec.Struct, frozen=True):
    """What the form of a function's pickle tells.

    ``kind``: function, class, partial, method, callable, reference or unknown.  ``modules``: what a worker must be able
    to import, outside the standard library and the pickling libraries, in alphabetical order.
    """

    code: bytes
    kind: str
    modules: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def decoded(payload: str | bytes) -> bytes:
    """Raw bytes as they are; base64 text, plain or wrapped into lines, decoded strictly.  Raises PayloadError."""
    if isinstance(payload, str):
        payload = _from_base64(payload)
    if not payload:
        raise PayloadError(Fault.EMPTY, "the payload is empty")
    return payload


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.encode("ascii").translate(None, b" \t\r\n\v\f"), strict_mode=True)
    except UnicodeEncodeError:
        raise PayloadError(Fault.NOT_BASE64, "the payload is not base64: it has letters outside ASCII") from None
    except binascii.Error as error:
        raise PayloadError(Fault.NOT_BASE64, f"the payload is not base64: {error}") from None


def check_function(payload: str | bytes) -> FunctionManifest:
    """What ``payload`` would load to, if that may be a callable.  Raises PayloadError."""
    code = decoded(payload)
    top, named = _walked(code)
    kind = _callable_kind(top)
    if not kind:
        raise PayloadError(Fault.NOT_CALLABLE, f"the payload is the pickle of {_described(top)}, not of a callable")
    modules = tuple(sorted(module for module in named if _is_foreign(module)))
    return FunctionManifest(code, kind, modules, tuple(_warnings(top, kind)))


def check_params(payload: str | bytes) -> bytes:
    """The bytes of ``payload``, if they are the pickle of ``((args...), {kwargs})``.  Raises PayloadError."""
    params = decoded(payload)
    top, _ = _walked(params)
    match top:
        case (tuple(), Mapping(odd_keys=False)):
            return params
        case (tuple(), Mapping()):
            finding = "the keyword arguments have a key that is no text"
        case (first, second):
            finding = f"the parameters are {_described(first)} and {_described(second)}, not a tuple and a dict"
        case tuple():
            finding = f"the parameters are a tuple of {len(top)}, not of 2"
        case _:
            finding = f"the parameters are {_described(top)}, not a tuple of 2"
    raise PayloadError(Fault.NOT_ARGS_KWARGS, finding)


def _walked(data: bytes) -> tuple[Shape, set[str]]:
    try:
        return walk(data, made)
    except Malformed as error:
        raise PayloadError(Fault(error.code), f"the payload does not load: {error}") from None


# What calling a name would make, as far as the name tells.

_DILL: Final = ("dill._dill", "dill.dill", "dill")
_CLOUDPICKLE: Final = ("cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast", "cloudpickle")
_BUILTINS: Final = ("builtins", "__builtin__")
_DATA_MODULES: Final = frozenset(
    "array collections datetime decimal fractions ipaddress pathlib uuid zoneinfo _codecs "  # noqa: SIM905
    "numpy.core.multiarray numpy._core.multiarray numpy._core.numeric pandas.core.frame pandas.core.series".split()
)
_DATA_BUILTINS: Final = (
    "bool bytearray bytes complex dict enumerate float frozenset int iter list map filter memoryview object range "
    "reversed set slice str tuple xrange zip"
)


def _made_by(modules: tuple[str, ...], names: str, what: str) -> dict[Global, Made]:
    return {Global(module, name): Made(what) for module in modules for name in names.split()}


_MADE: Final[dict[Global, Made]] = {
    **_made_by(_DILL, "_create_function", "function"),
    **_made_by(_DILL, "_create_type _create_namedtuple", "class"),
    **_made_by(_DILL, "_create_code _create_cell _create_filehandle _create_lock _create_rlock _eval_repr", "data"),
    **_made_by(_DILL, "_getattr", "method"),
    **_made_by(_CLOUDPICKLE, "_make_function _make_skel_func", "function"),
    **_made_by(_CLOUDPICKLE, "_make_skeleton_class _make_skeleton_enum", "class"),
    **_made_by(_CLOUDPICKLE, "_make_cell _make_empty_cell", "data"),
    **_made_by(_BUILTINS, "type", "class"),
    **_made_by(_BUILTINS, "getattr", "method"),
    **_made_by(_BUILTINS, _DATA_BUILTINS, "data"),
    **_made_by(("functools", "types"), "partial PartialType", "partial"),
    **_made_by(("operator", "_operator"), "itemgetter attrgetter methodcaller", "callable"),
    **_made_by(("types",), "ItemGetterType AttrGetterType", "callable"),
    **_made_by(("types",), "MethodType", "method"),
    **_made_by(("types",), "FunctionType LambdaType", "function"),
    **_made_by(("types",), "CodeType CellType ModuleType", "data"),
}
_TYPE_BY_NAME: Final = frozenset(
    [Global(module, "_load_type") for module in _DILL] + [Global(module, "_builtin_type") for module in _CLOUDPICKLE]
)
_RECONSTRUCTORS: Final = frozenset(_made_by(("copyreg", "copy_reg"), "_reconstructor __newobj__ __newobj_ex__", ""))
_IMPORTED: Final = frozenset(
    [Global(module, "_import_module") for module in _DILL] + [Global(module, "subimport") for module in _CLOUDPICKLE]
)


def made(called: Shape, arguments: Shape) -> Shape:
    """The shape of ``called(*arguments)``, without calling it."""
    if not isinstance(called, Global):
        return UNKNOWN
    if called in _TYPE_BY_NAME:
        return _type_by_name(arguments)
    if called in _RECONSTRUCTORS and isinstance(arguments, tuple) and arguments:
        called = arguments[0]  # the class of the instance that is to be made
        return DATA if isinstance(called, Global) and called.module in _DATA_MODULES else UNKNOWN
    if called in _IMPORTED:
        return _module(arguments)
    if called.module in _DATA_MODULES:
        return DATA
    return _MADE.get(called, UNKNOWN)


def _type_by_name(arguments: Shape) -> Shape:
    """The pickling libraries name the interpreter's own types by a text: ``MethodType``, ``int``, ``PartialType``."""
    match arguments:
        case (str(name), *_):
            return Global("types" if name.endswith("Type") else "builtins", name)
        case _:
            return UNKNOWN


def _module(arguments: Shape) -> Shape:
    """A module itself, as a global without a name."""
    match arguments:
        case (str(name), *_):
            return Global(name, "")
        case _:
            return DATA


# What the shape at the top is.

_NO_CALLABLES: Final = frozenset(
    Global(module, name) for module in _BUILTINS for name in ("Ellipsis", "NotImplemented")
)


def _callable_kind(top: Shape) -> str:
    """What kind of callable ``top`` is, "unknown" if it may be one, "" if it is certainly none."""
    match top:
        case Global() if top in _NO_CALLABLES or not top.name:
            return ""
        case Global():
            return "reference"
        case Made(what) if top not in (DATA, TEXT):
            return what
        case _:
            return ""


def _described(shape: Shape) -> str:
    match shape:
        case str() | Made("text"):
            return "a text"
        case tuple():
            return f"a tuple of {len(shape)}"
        case Mapping():
            return "a dict"
        case Global(module, name):
            return f"{module}.{name}"
        case Made("data"):
            return "plain data"
        case Made(what):
            return f"a {what}" if what != "unknown" else "an object of unknown type"


_SUPPLIED: Final = frozenset({*sys.stdlib_module_names, "__builtin__", "copy_reg", "dill", "cloudpickle"})


def _is_foreign(module: str) -> bool:
    """Whether a worker may lack ``module``."""
    return module.partition(".")[0] not in _SUPPLIED


def _warnings(top: Shape, kind: str) -> list[str]:
    """What the sender should know about a function that is accepted."""
    if kind == "unknown":
        return ["only loading could tell whether this is a callable; if it is none, its tasks will fail"]
    if isinstance(top, Global) and top.module == "__main__":
        return [f"sent by reference to {top.name} in __main__, which no worker has: pickle it with dill or cloudpickle"]
    if isinstance(top, Global) and _is_foreign(top.module):
        where = f"sent by reference to {top.name} in module {top.module!r}"
        return [f"{where}: workers must be able to import it (--import-path DIR), or send the function by value"]
    return []
