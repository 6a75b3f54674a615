"""Shell: undoing what faults have left, from their journals; and the journals of commands that do one fault only."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from regrow.chaos import undo
from regrow.chaos.journal import Header, Intent, Journal, Record, Undone, damaged, outstanding, read, unknown
from regrow.chaos.lineage import lives
from regrow.runtime import endpoints
from regrow.runtime.errors import ConfigError

JOURNAL: Final = "journal.jsonl"
RUNS: Final = Path("regrow-chaos")  # where runs are put, in the directory that they are started in


class Left(msgspec.Struct, frozen=True):
    """What is not undone of one journal. ``writer``: the chaos process, where it still runs. ``problems``: what nobody can undo."""

    journal: Path
    intents: list[Intent] = []
    writer: int = 0
    problems: tuple[str, ...] = ()


def left(where: Path | None, data_dir: Path | None) -> list[Left]:
    """Of each journal where there is something.  Raises ConfigError when one was named that is not there, or cannot be read."""
    found = []
    for path in _journals(where, data_dir):
        try:
            found.append(_left(path))
        except ConfigError as error:
            if where is not None:
                raise
            found.append(Left(path, problems=(str(error),)))
    return [one for one in found if one.intents or one.problems]


def _left(path: Path) -> Left:
    records = read(path)
    problems = [f"line {number} of {path} is damaged and was passed over" for number in damaged(path)]
    problems += [f"{strike.fault} was done, and how it is undone cannot be read" for strike in unknown(records)]
    return Left(path, outstanding(records), _writer(records), tuple(problems))


def _writer(records: Iterable[Record]) -> int:
    """The process that writes the journal, if it still runs; else 0."""
    return next((it.pid for it in records if isinstance(it, Header) and lives(it.pid, it.started_at)), 0)


def heal(found: Left) -> Iterator[tuple[Intent, tuple[str, ...], tuple[str, ...]]]:
    """Undo them; for each what its undos say, and what went wrong.  What was undone is so in the journal.  Raises ConfigError."""
    with _opened(found.journal) as journal:
        for intent in found.intents:
            if found.writer and any(isinstance(one, undo.HealLink) for one in intent.undos):
                yield intent, (), (f"the run that has its proxy goes on: end process {found.writer}, with Ctrl-C",)
                continue
            said, problems = undo.run(intent.undos)
            if not problems:
                journal.write(Undone(intent.number, "undo", said, time.monotonic()))
            yield intent, said, problems


def _opened(path: Path) -> Journal:
    try:
        return Journal(path)
    except OSError as error:
        raise ConfigError(
            f"the journal {path} cannot be written: {error.strerror}; nothing was undone: do it as the user who made it"
        ) from None


def tidy(data_dir: Path | None) -> None:
    """Remove what killed commands have left, where nothing is to be undone any more."""
    for path in _small_journals(data_dir).glob(f"*/{JOURNAL}"):
        try:
            records = read(path)
        except ConfigError:
            continue  # somebody else's
        if not _writer(records) and not outstanding(records):
            shutil.rmtree(path.parent, ignore_errors=True)


@contextmanager
def small_journal(data_dir: Path | None) -> Iterator[Path | None]:
    """A journal for one fault, gone when that is undone; None where there is no place for one: then the guardian alone keeps it."""
    folder = _small_journals(data_dir) / f"{os.getpid()}-{time.monotonic_ns()}"
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError:
        yield None
        return
    path = folder / JOURNAL
    try:
        yield path
    finally:
        if not path.exists() or not outstanding(read(path)):
            shutil.rmtree(folder, ignore_errors=True)


def _journals(where: Path | None, data_dir: Path | None) -> Iterator[Path]:
    if where is None:
        for folder in (RUNS, _small_journals(data_dir)):
            yield from sorted(folder.glob(f"*/{JOURNAL}"))
        return
    path = where / JOURNAL if where.is_dir() else where
    if not path.is_file():
        raise ConfigError(f"there is no journal {path}: name a journal, or the directory of a run")
    yield path


def _small_journals(data_dir: Path | None) -> Path:
    return (data_dir or endpoints.default_data_dir()) / "chaos"
