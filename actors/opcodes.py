"""Core: what each pickle opcode does to the machine of shapes.py: one small operation per opcode, and the table of all.

Each operation gets the machine and the offset after its opcode, and returns the offset after its argument.  One that
takes more from the stack than is there raises IndexError; every other fault is a Malformed.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from regrow.actors.shapes import DATA, MAX_TEXT, TEXT, UNKNOWN, Machine, Malformed, Mapping, Shape

MAX_MEMO: Final = 2_000_000  # highest index; the real machine reserves room up to it
MAX_MARKS: Final = 10_000  # open at once
MAX_PROTOCOL: Final = 5

MEMOIZE: Final = 0x94
STOP: Final = 0x2E


Operation = Callable[[Machine, int], int]
_INT32, _UINT32, _UINT64 = Struct("<i"), Struct("<I"), Struct("<Q")
_BYTE = Struct("<B")


def _sized(size: Struct, is_text: bool) -> Operation:
    """Push a value whose length is given by a number in front of it."""

    def push(machine: Machine, at: int) -> int:
        length, start = machine.number(size, at)
        end = machine.within(start, length)
        machine.stack.append(DATA if not is_text else TEXT if length > MAX_TEXT else _text(machine.data[start:end]))
        return end

    return push


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Malformed("not_a_pickle", "a text is not valid UTF-8") from None


def _proto(machine: Machine, at: int) -> int:
    protocol, end = machine.number(_BYTE, at)
    if protocol > MAX_PROTOCOL:
        raise Malformed("not_a_pickle", f"pickle protocol {protocol} is newer than {MAX_PROTOCOL}")
    return end


def _frame(machine: Machine, at: int) -> int:
    length, start = machine.number(_UINT64, at)
    machine.within(start, length)
    return start


def _number_line(machine: Machine, at: int) -> int:
    text, end = machine.line(at)
    digits = text.removesuffix(b"L").removeprefix(b"-")
    if not digits.isdigit():
        raise Malformed("not_a_pickle", f"the number at byte {at} is none")
    machine.stack.append(DATA)
    return end


def _float_line(machine: Machine, at: int) -> int:
    text, end = machine.line(at)
    try:
        float(text)
    except ValueError:
        raise Malformed("not_a_pickle", f"the number at byte {at} is none") from None
    machine.stack.append(DATA)
    return end


def _string_line(machine: Machine, at: int) -> int:
    text, end = machine.line(at)
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise Malformed("not_a_pickle", f"the text at byte {at} is not quoted")
    machine.stack.append(_text(text[1:-1]) if len(text) <= MAX_TEXT else TEXT)
    return end


def _unicode_line(machine: Machine, at: int) -> int:
    text, end = machine.line(at)
    machine.stack.append(text.decode("latin-1") if len(text) <= MAX_TEXT else TEXT)
    return end


def _global_line(machine: Machine, at: int) -> int:
    module, at = machine.line(at)
    name, at = machine.line(at)
    machine.stack.append(machine.name(_text(module), _text(name)))
    return at


def _stack_global(machine: Machine, at: int) -> int:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.name(module, name))
    return at


def _instance_line(machine: Machine, at: int) -> int:
    module, at = machine.line(at)
    name, at = machine.line(at)
    arguments = tuple(machine.since_mark())
    machine.call(machine.name(_text(module), _text(name)), arguments)
    return at


def _object(machine: Machine, at: int) -> int:
    called, *arguments = machine.since_mark() or (UNKNOWN,)
    machine.call(called, tuple(arguments))
    return at


def _call(machine: Machine, at: int) -> int:
    arguments, called = machine.stack.pop(), machine.stack.pop()
    machine.call(called, arguments)
    return at


def _call_with_keywords(machine: Machine, at: int) -> int:
    machine.stack.pop()
    return _call(machine, at)


def _build(machine: Machine, at: int) -> int:
    machine.stack.pop()
    machine.top()  # the object that takes the state must be there
    return at


def _mark(machine: Machine, at: int) -> int:
    if len(machine.below) >= MAX_MARKS:
        raise Malformed("too_complex", f"it nests deeper than {MAX_MARKS:,} levels")
    machine.below.append(machine.stack)
    machine.stack = []
    return at


def _pop(machine: Machine, at: int) -> int:
    if machine.stack or not machine.below:
        machine.stack.pop()
    else:
        machine.since_mark()
    return at


def _pop_mark(machine: Machine, at: int) -> int:
    machine.since_mark()
    return at


def _duplicate(machine: Machine, at: int) -> int:
    machine.stack.append(machine.stack[-1])
    return at


def _empty_tuple(machine: Machine, at: int) -> int:
    machine.stack.append(())
    return at


def _tuple(machine: Machine, at: int) -> int:
    items = machine.since_mark()
    machine.stack.append(tuple(items))
    return at


def _tuple_of(count: int) -> Operation:
    def build(machine: Machine, at: int) -> int:
        stack = machine.stack
        if len(stack) < count:
            raise IndexError
        stack[-count:] = (tuple(stack[-count:]),)
        return at

    return build


def _empty_dict(machine: Machine, at: int) -> int:
    machine.stack.append(Mapping())
    return at


def _dict(machine: Machine, at: int) -> int:
    items = machine.since_mark()
    mapping = Mapping()
    _add(mapping, items)
    machine.stack.append(mapping)
    return at


def _set_item(machine: Machine, at: int) -> int:
    value, key = machine.stack.pop(), machine.stack.pop()
    _add(machine.stack[-1], [key, value])
    return at


def _set_items(machine: Machine, at: int) -> int:
    items = machine.since_mark()
    _add(machine.stack[-1], items)
    return at


def _add(mapping: Shape, items: list[Shape]) -> None:
    """Keys and values, in turns."""
    if len(items) % 2:
        raise Malformed("not_a_pickle", "a dict has a key without a value")
    if isinstance(mapping, Mapping) and not mapping.odd_keys:
        for key in items[::2]:
            if type(key) is not str and key is not TEXT and key is not UNKNOWN:
                mapping.odd_keys = True


def _collection(machine: Machine, at: int) -> int:
    """A list, set or frozenset of what was pushed since the mark."""
    machine.since_mark()
    machine.stack.append(DATA)
    return at


def _extend(machine: Machine, at: int) -> int:
    machine.since_mark()
    machine.top()  # the collection must be there
    return at


def _put(machine: Machine, index: int) -> None:
    if index > MAX_MEMO:
        raise Malformed("too_complex", f"memo index {index:,} is out of all proportion")
    machine.memo[index] = machine.stack[-1]


def _get(machine: Machine, index: int) -> None:
    try:
        machine.stack.append(machine.memo[index])
    except KeyError:
        raise Malformed("not_a_pickle", f"memo entry {index} is read and was never stored") from None


def _memo(use: Callable[[Machine, int], None], size: Struct) -> Operation:
    def run(machine: Machine, at: int) -> int:
        index, end = machine.number(size, at)
        use(machine, index)
        return end

    return run


def _memo_line(use: Callable[[Machine, int], None]) -> Operation:
    def run(machine: Machine, at: int) -> int:
        text, end = machine.line(at)
        if not text.isdigit() or len(text) > 10:
            raise Malformed("not_a_pickle", f"the memo index at byte {at} is none")
        use(machine, int(text))
        return end

    return run


def _refused(what: str) -> Operation:
    def refuse(_machine: Machine, at: int) -> int:
        raise Malformed("refused_opcode", f"byte {at - 1} is {what}, which nobody could resolve here")

    return refuse


def _unknown(machine: Machine, at: int) -> int:
    raise Malformed("not_a_pickle", f"byte {at - 1} ({machine.data[at - 1]:#04x}) is no pickle opcode")


WIDTHS: Final = [0] * 256  # bytes of an opcode that pushes a plain value of fixed size, itself included; else 0
for _code, _width in {b"N": 1, b"\x88": 1, b"\x89": 1, b"K": 2, b"M": 3, b"J": 5, b"G": 9, b"]": 1, b"\x8f": 1}.items():
    WIDTHS[_code[0]] = _width

_NAMED: Final[dict[bytes, Operation]] = {
    b"\x80": _proto, b"\x95": _frame,
    b"I": _number_line, b"L": _number_line, b"F": _float_line, b"S": _string_line, b"V": _unicode_line,
    b"\x8a": _sized(_BYTE, False), b"\x8b": _sized(_INT32, False),
    b"U": _sized(_BYTE, False), b"T": _sized(_INT32, False),
    b"C": _sized(_BYTE, False), b"B": _sized(_UINT32, False),
    b"\x8e": _sized(_UINT64, False), b"\x96": _sized(_UINT64, False),
    b"\x8c": _sized(_BYTE, True), b"X": _sized(_UINT32, True), b"\x8d": _sized(_UINT64, True),
    b"(": _mark, b"0": _pop, b"1": _pop_mark, b"2": _duplicate,
    b")": _empty_tuple, b"t": _tuple, b"\x85": _tuple_of(1), b"\x86": _tuple_of(2), b"\x87": _tuple_of(3),
    b"}": _empty_dict, b"d": _dict, b"s": _set_item, b"u": _set_items,
    b"l": _collection, b"\x91": _collection, b"a": _build, b"e": _extend, b"\x90": _extend,
    b"c": _global_line, b"\x93": _stack_global, b"i": _instance_line, b"o": _object,
    b"R": _call, b"\x81": _call, b"\x92": _call_with_keywords, b"b": _build,
    b"p": _memo_line(_put), b"q": _memo(_put, _BYTE), b"r": _memo(_put, _UINT32),
    b"g": _memo_line(_get), b"h": _memo(_get, _BYTE), b"j": _memo(_get, _UINT32),
    **dict.fromkeys((b"P", b"Q"), _refused("a persistent id")),
    **dict.fromkeys((b"\x82", b"\x83", b"\x84"), _refused("an extension code")),
    **dict.fromkeys((b"\x97", b"\x98"), _refused("an out-of-band buffer")),
}  # fmt: skip
OPERATIONS: Final = [_NAMED.get(bytes([code]), _unknown) for code in range(256)]
