"""Shell: undoing what faults have left, from their journals; and the journals of commands that do one fault only."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from regrow.chaos import undo
from regrow.chaos.journal import Header, Intent, Journal, Undone, outstanding, read
from regrow.runtime import endpoints
from regrow.runtime.errors import ConfigError

JOURNAL: Final = "journal.jsonl"
RUNS: Final = Path("regrow-chaos")  # where runs are put, in the directory that they are started in


def left(where: Path | None, data_dir: Path | None) -> dict[Path, list[Intent]]:
    """What is not undone, by journal.  Raises ConfigError when one was named that is not there."""
    return {path: found for path in _journals(where, data_dir) if (found := outstanding(read(path)))}


def heal(path: Path, intents: list[Intent]) -> Iterator[tuple[Intent, tuple[str, ...], tuple[str, ...]]]:
    """Undo them; for each what its undos say, and what went wrong.  What was undone is so in the journal."""
    with Journal(path) as journal:
        for intent in intents:
            said, problems = undo.run(intent.undos)
            if not problems:
                journal.write(Undone(intent.number, "undo", said, time.monotonic()))
            yield intent, said, problems


def tidy(data_dir: Path | None) -> None:
    """Remove what killed commands have left, where nothing is to be undone any more."""
    for path in _small_journals(data_dir).glob(f"*/{JOURNAL}"):
        records = read(path)
        is_written = any(isinstance(record, Header) and Path(f"/proc/{record.pid}").exists() for record in records)
        if not is_written and not outstanding(records):
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
