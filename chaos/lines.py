"""Shell: files of one JSON object a line, written while things happen and read when all is over."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from regrow.runtime.errors import RegrowError

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Damaged(RegrowError):
    """A file of a run cannot be read."""

    code = "damaged_run"


class Lines:
    """A file that structs are added to.  What was added is in the file when the call returns, whatever becomes of this process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, rows: Iterable[object]) -> None:
        """One line each, written at once."""
        data = b"".join(_encode(row) + b"\n" for row in rows)
        while data:
            data = data[os.write(self._file, data) :]


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """All lines; a last one without its end was being written when its writer died, and is left out.  Raises Damaged."""
    try:
        whole = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    decode = msgspec.json.Decoder(kind).decode
    found = []
    for number, line in enumerate(whole, start=1):
        try:
            found.append(decode(line))
        except msgspec.DecodeError as error:
            raise Damaged(f"{path}, line {number}: {error}") from None
    return found
