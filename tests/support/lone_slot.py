"""A program that plays a slot on another machine: it calls what standard input brings; nothing of ours is importable.

Run it with ``python -I``.  In: two pickles, a function and its parameters, each behind its length.  Out: the pickle of
``("value", value)`` or ``("raised", exception)``, made with cloudpickle.
"""

import struct
import sys

import cloudpickle
import dill


def read() -> bytes:
    (size,) = struct.unpack("!Q", sys.stdin.buffer.read(8))
    return sys.stdin.buffer.read(size)


def outcome() -> tuple[str, object]:
    try:
        function = dill.loads(read())
        args, kwargs = dill.loads(read())
        return "value", function(*args, **kwargs)
    except Exception as error:
        return "raised", error


if __name__ == "__main__":
    assert not [name for name in sys.modules if name.startswith(("support", "regrow"))]
    sys.stdout.buffer.write(cloudpickle.dumps(outcome()))
