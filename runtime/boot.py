"""Shell: the entry of every actor process: ``python -m regrow.runtime.boot PARENT ORDER WORDS``.

``PARENT`` is the pid of the supervisor, ``ORDER`` the descriptor of a file that holds a Start, ``WORDS`` that of the
pipe for the last words.  Before anything else the process ties its life to its parent's.
"""

import gc
import os
import sys

from regrow.runtime import process


def main() -> None:
    """Run one actor and end the interpreter in the ordinary way, with its exit code."""
    gc.disable()  # what is imported stays: looking through it again and again would be a tenth of an actor's start
    parent, order, words = (int(word) for word in sys.argv[1:4])
    process.die_with_parent(parent)
    os.set_inheritable(words, False)
    sys.exit(run(order, words))


def run(order: int, words: int) -> int:
    """Load the class, run the actor, leave its last words; the exit code."""
    import msgspec
    from setproctitle import setproctitle

    from regrow.runtime import events, hooks
    from regrow.runtime.host import exit_code, failure, run_child
    from regrow.runtime.reference import load

    with os.fdopen(order, "rb") as file:
        start = msgspec.msgpack.decode(file.read(), type=process.Start)
    sys.path[:] = start.import_path
    sys.argv[1:] = []
    setproctitle(f"regrow: {start.path}")
    try:
        actor_class = load(start.actor)
        hooks.start_of(getattr(actor_class, "role", "actor"))
        events.identify(start.path, start.incarnation, start.log_level)
        gc.freeze()
        gc.enable()
        reason = run_child(actor_class, start)
    except Exception as error:  # noqa: BLE001 (loading runs the code of a module that is not ours)
        reason = failure(error)
    process.write_last_words(words, reason)
    return exit_code(reason)


if __name__ == "__main__":
    main()
