"""Core: what a pickle would load to, found without loading it: nothing that it names is imported, nothing is called.

Theory of operation.  A pickle is a program for a small stack machine.  ``walk`` runs that program over *shapes* instead
of objects (shapes.py), by the operations of opcodes.py.  The shape that is left at the end is that of the
loaded object.

The machine is as strict as the real one, or stricter: one STOP, at the very end, with one object on the stack; no pop
below a mark; no memo entry that was never stored; no size that the bytes do not have.  Persistent ids, extension codes
and out-of-band buffers are refused, because nobody at the other end could resolve them.  Opcodes, open marks and memo
indices are capped, so the time and memory of a walk are bounded by the length of its input.

It is a check of form.  It says nothing about what the code would do.
"""

from typing import Final

from regrow.actors.opcodes import MEMOIZE, OPERATIONS, STOP, WIDTHS
from regrow.actors.shapes import DATA, Machine, Maker, Malformed, Shape

MAX_OPCODES: Final = 2_000_000


def walk(data: bytes, made: Maker) -> tuple[Shape, set[str]]:
    """The shape that ``data`` would load to, and the modules that it names.  Raises Malformed."""
    machine = Machine(data, made)
    end = _run(machine)
    if end != len(data):
        raise Malformed("trailing_bytes", f"the pickle ends at byte {end} of {len(data)}")
    if len(machine.stack) != 1 or machine.below:
        raise Malformed("not_a_pickle", "it does not end with exactly one object")
    return machine.stack[0], machine.modules


def _run(machine: Machine) -> int:
    """Run to STOP and return the offset after it. The commonest opcodes are here, and the table has the others."""
    data, memo, stack, at = machine.data, machine.memo, machine.stack, 0
    widths, operations = WIDTHS, OPERATIONS
    try:
        for _ in range(MAX_OPCODES):
            code = data[at]
            width = widths[code]
            if width:
                stack.append(DATA)
                at += width
            elif code == MEMOIZE:
                memo[len(memo)] = stack[-1]
                at += 1
            elif code == STOP:
                return at + 1
            else:
                at = operations[code](machine, at + 1)
                stack = machine.stack
    except IndexError:
        if at >= len(data):
            raise Malformed("truncated", "the bytes end before the pickle does") from None
        raise Malformed("not_a_pickle", f"the opcode at byte {at} takes more from the stack than is there") from None
    raise Malformed("too_complex", f"it has more than {MAX_OPCODES:,} opcodes")
