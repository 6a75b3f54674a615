"""Damage, as it happens to bytes: flipped bits, cuts, noise, things that look nearly right, and nothing at all."""

from random import Random

NEARLY = (
    b"", b"0", b"-1", b"1.5", b"1e300", b"nan", b"inf", b"0x10", b" 7", b"99999999999999999999", b"RUNNING", b"running",
    b"\xff\xfe", b"\x00", b"\xc1", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"null", b"{}", b"[[[[[[[[",
)  # fmt: skip


def flipped(chance: Random, data: bytes) -> bytes:
    """One to three bits are not what they were."""
    hurt = bytearray(data or b"\x00")
    for _ in range(chance.randint(1, 3)):
        hurt[chance.randrange(len(hurt))] ^= 1 << chance.randrange(8)
    return bytes(hurt) if hurt != data else bytes(hurt) + b"\x01"


def damaged(chance: Random, data: bytes) -> bytes | None:
    """Other bytes than these; ``None``: they are gone."""
    match chance.randrange(6):
        case 0 | 1:
            hurt = flipped(chance, data)
        case 2:
            hurt = data[: chance.randrange(len(data))] if data else b"?"
        case 3:
            hurt = chance.randbytes(chance.randrange(1, 40))
        case 4:
            hurt = chance.choice(NEARLY)
        case _:
            return None
    return hurt if hurt != data else hurt + b"\x00"


def spoiled(chance: Random, frame: bytes, others: list[bytes]) -> bytes:
    """A frame that is not what was sent: flipped, cut, with something in it twice, or joined with another one."""
    match chance.randrange(5):
        case 0 | 1:
            return flipped(chance, frame)
        case 2:
            return frame[: chance.randrange(len(frame))]
        case 3:
            start, end = sorted(chance.randrange(len(frame) + 1) for _ in range(2))
            return frame[:end] + frame[start : max(end, start + 1)] + frame[end:]
        case _:
            other = chance.choice(others)
            return frame[: chance.randrange(1, len(frame) + 1)] + other[chance.randrange(len(other)) :]
