"""Shell: pickles that carry a user's own code with them, and how to load what comes back.

A pickle normally names a function or class (``module``, ``name``) and expects the other side to import it.  A slot
cannot import the user's script or project, so whatever belongs to a *user's own module* is written out by value:
its code, the globals that it reads, and so on, as far as it reaches.  The other side needs cloudpickle, nothing else.

A module is the user's own unless it is

- part of the standard library, built in or frozen;
- below a ``site-packages`` or ``dist-packages`` folder: an installed distribution, which the workers need as well.
  (An editable install lies elsewhere and so does travel: the copy that is being edited is the one that runs.);
- a compiled extension, which cannot be written out;
- regrow itself, which every slot has.

Whole modules (``import tools; tools.clean(x)``) travel as well, reduced to the attributes whose names occur in code
that travels with them: a module may hold a lock, a socket or a gigabyte that the function never touches.  What code
needs is known only once it has been met, so the pickle is made again until no left-out name turns up in it; one round
is usual.  Three things cannot be seen from outside and stay behind: an ``import`` of a user's own module inside a
function's body, attributes whose names are put together at run time, and changes made after the capture.
"""

import functools
import io
import os
import pickle
import site
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, TypeVar

import cloudpickle  # type: ignore[import-untyped]

from regrow.gateway.client_errors import NotPicklable

PROTOCOL: Final = 5  # every supported Python reads it
PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
ALWAYS: Final = frozenset({"__name__", "__package__", "__file__", "__getattr__"})  # what a travelling module keeps
NEVER: Final = frozenset({"__builtins__", "__spec__", "__loader__", "__cached__"})
CACHED: Final = type(functools.lru_cache(len))

_registry = threading.RLock()  # guards cloudpickle's list of modules that travel by value
_native: "weakref.WeakSet[type]" = weakref.WeakSet()  # classes that were sent from here, so that exist here already


def dumps(value: object) -> bytes:
    """``value`` as a pickle that loads where the user's own modules are not.  Raises NotPicklable."""
    names: set[str] = set()
    try:
        while True:
            with io.BytesIO() as file:
                pickler = _Pickler(file, names)
                pickler.dump(value)
                if pickler.left_out.isdisjoint(names):
                    return file.getvalue()
    except Exception as error:  # the user's own __reduce__ methods run in there
        raise NotPicklable(f"{_shown(value)} cannot be sent: {type(error).__name__}: {error}") from error


def dumps_call(args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
    """The parameters of one call, ``((args...), {kwargs})``.  Plain values take the short way.  Raises NotPicklable."""
    for value in args:
        if type(value) not in PLAIN:
            return dumps((args, dict(kwargs)))
    for value in kwargs.values():
        if type(value) not in PLAIN:
            return dumps((args, dict(kwargs)))
    return pickle.dumps((args, kwargs), PROTOCOL)


def loads(data: bytes) -> Any:
    """What ``data`` holds, made by pickle, cloudpickle or dill.  It runs code of whoever made it; raises anything."""
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except _MadeByDill:
        import dill  # type: ignore[import-untyped]  # slow to import, and seldom needed here

        return dill.loads(data)


def is_users_own(module: ModuleType) -> bool:
    """Does code of ``module`` travel by value?"""
    name = getattr(module, "__name__", "")
    if name in {"__main__", "__mp_main__"}:
        return True
    if name.partition(".")[0] == "regrow":
        return False
    location = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if location is None:  # made at run time, unless the interpreter carries it
        return getattr(module, "__spec__", None) is None
    return not _is_installed(location)


@functools.cache
def _is_installed(location: str) -> bool:
    """Does this file, or folder of a namespace package, belong to Python or to an installed distribution?"""
    if Path(location).suffix not in {".py", ".pyc", ""}:
        return True
    if location.startswith("<"):  # "<frozen os>"
        return True
    if not {"site-packages", "dist-packages"}.isdisjoint(Path(location).parts):
        return True
    return any(place.startswith(_installed_roots()) for place in (location, os.path.realpath(location)))


@functools.cache
def _installed_roots() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [os.path.dirname(os.__file__), site.getusersitepackages(), *site.getsitepackages()]  # noqa: PTH120
    return tuple({place.rstrip(os.sep) + os.sep for path in paths for place in (path, os.path.realpath(path))})


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, with the user's own modules by value.

    ``names`` are the identifiers that occur in the code met so far, and grow; ``left_out`` are attributes of
    travelling modules that did not, at the time, occur among them.
    """

    def __init__(self, file: io.BytesIO, names: set[str]) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self.names = names
        self.left_out: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Called by pickle for everything but the built-in plain types."""
        if isinstance(obj, FunctionType):
            return self._by_value(obj)
        if isinstance(obj, type):
            return self._by_value(obj)
        if isinstance(obj, ModuleType):
            return self._module(obj) if is_users_own(obj) else NotImplemented
        if isinstance(obj, TypeVar):
            return self._by_value(obj, self.dispatch_table[TypeVar])
        if isinstance(obj, CACHED):
            return self._cached(obj)
        if isinstance(obj, functools.cached_property):
            return type(obj), (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}
        return super().reducer_override(obj)

    def _by_value(self, obj: Any, reduce: Callable[[Any], Any] | None = None) -> Any:
        """cloudpickle's reduction of ``obj``, its module registered for just as long as that takes."""
        with _registered(_own_module(obj)):
            reduced = (reduce or super().reducer_override)(obj)
        if reduced is not NotImplemented:
            if isinstance(obj, FunctionType):
                self.names.update(_names(obj.__code__))
            elif isinstance(obj, type):
                _native.add(obj)
        return reduced

    def _module(self, module: ModuleType) -> Any:
        """An empty module first, its attributes as state after it: so modules may refer to each other."""
        kept: dict[str, object] = {}
        for name, value in list(vars(module).items()):
            if name in self.names or name in ALWAYS:
                kept[name] = value
            elif name not in NEVER:
                self.left_out.add(name)
        return ModuleType, (module.__name__,), {name: kept[name] for name in kept.keys() - NEVER}

    def _cached(self, function: Any) -> Any:
        """A function under ``functools.cache``: a new, empty cache round the same function."""
        if _own_module(function) is None and function.__module__ != "__main__":
            return NotImplemented
        parameters = function.cache_parameters()
        made_from = (function.__wrapped__, parameters["maxsize"], parameters["typed"], functools._CacheInfo)  # noqa: SLF001
        return CACHED, made_from, vars(function)


def _own_module(obj: Any) -> ModuleType | None:
    """The user's own module that ``obj`` is from.  Not ``__main__``: cloudpickle sends that by value anyway."""
    name = getattr(obj, "__module__", None)
    module = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
    return module if module is not None and module.__name__ in sys.modules and is_users_own(module) else None


@contextmanager
def _registered(module: ModuleType | None) -> Iterator[None]:
    """Let cloudpickle take ``module`` by value, one thread at a time, and leave its list as it was."""
    if module is None:
        yield
        return
    with _registry:
        was_registered = module.__name__ in cloudpickle.list_registry_pickle_by_value()
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            if not was_registered:
                cloudpickle.unregister_pickle_by_value(module)


@functools.lru_cache(maxsize=1024)
def _names(code: CodeType) -> frozenset[str]:
    """Identifiers in ``code`` and the code within it: names, attributes, and strings that could be given to getattr."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            found.add(constant)
    return frozenset(found)


def _shown(value: object) -> str:
    return f"function {value.__qualname__}" if isinstance(value, FunctionType) else f"a {type(value).__name__}"


class _MadeByDill(Exception):
    """The pickle uses dill's own reading of names."""


class _Unpickler(pickle.Unpickler):
    """pickle's reader, with two names read in another way.

    cloudpickle rebuilds a class that came from here as the very same class, and then sets all its attributes again:
    counters would be reset, methods would see copies of their globals.  A class that is native here keeps what it has.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module == "__builtin__" or module.startswith("dill."):
            raise _MadeByDill
        found = super().find_class(module, name)
        return _set_unless_native(found) if name == "_class_setstate" else found


def _set_unless_native(setstate: Callable[[type, Any], type]) -> Callable[[type, Any], type]:
    return lambda cls, state: cls if cls in _native else setstate(cls, state)
