"""What a terminal shows after everything that was written to it: as much of one as rich's live display needs."""

import re
from typing import Final

PIECES: Final = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Of unlimited height.  ``is_cursor_shown``: as a shell wants to find it."""

    def __init__(self, written: str) -> None:
        self.is_cursor_shown = True
        self._lines = [""]
        self._row = self._column = 0
        place = 0
        for piece in PIECES.finditer(written):
            assert piece.start() == place, f"not understood: {written[place : piece.start()]!r}"
            place = piece.end()
            self._take(*piece.groups())
        assert place == len(written), f"not understood: {written[place:]!r}"

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._lines).strip("\n")

    def _take(
        self, private: str | None, number: str | None, letter: str | None, end: str | None, text: str | None
    ) -> None:
        if text:
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + text + line[self._column + len(text) :]
            self._column += len(text)
        elif end == "\r":
            self._column = 0
        elif end == "\n":
            self._row, self._column = self._row + 1, 0  # as a terminal does it for programs that are not in raw mode
            self._lines += [""] * (self._row + 1 - len(self._lines))
        elif private:
            assert number == "25", f"private mode {number}"
            self.is_cursor_shown = letter == "h"
        else:
            self._control(int(number or 1) if letter != "m" else 0, letter or "")

    def _control(self, number: int, letter: str) -> None:
        match letter:
            case "m":  # colour
                pass
            case "A":
                self._row -= number
                assert self._row >= 0, "above the first line"
            case "K":
                assert number == 2, f"erase {number}"
                self._lines[self._row] = ""
            case _:
                raise AssertionError(f"control {letter}")
