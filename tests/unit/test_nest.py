"""The slots' directory: it is private, held while its worker lives, and cleared whatever is in it."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regrow.actors.nest import PREFIX, Nest, clear

NOBODY = 65534


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """As an ordinary user, who owns ``folder`` and is in it."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_worker_on_its_own_clears_what_killed_ones_have_left_and_nothing_else(temporary: Path) -> None:
    living = Nest(None, "a")
    abandoned, other = temporary / f"{PREFIX}dead", temporary / "regrow-other"
    (abandoned / "slot-0-1").mkdir(parents=True)
    other.mkdir()

    nest = Nest(None, "b")

    assert {living.path, nest.path, other} == set(temporary.iterdir())
    assert nest.path.stat().st_mode & 0o777 == 0o700
    nest.remove()
    living.remove()
    assert [other] == list(temporary.iterdir())


def test_a_directory_that_was_cleared_before_it_was_locked_is_replaced(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make, flock = tempfile.mkdtemp, os.open

    def mkdtemp(prefix: str) -> str:
        made.append(make(prefix=prefix))
        if len(made) == 1:
            os.rmdir(made[0])
        return made[-1]

    def open_it(path: Path, flags: int) -> int:
        lock = flock(path, flags)
        if len(made) == 2:
            os.rmdir(made[1])
        return lock

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    monkeypatch.setattr(os, "open", open_it)
    nest = Nest(None, "a")
    monkeypatch.undo()

    assert nest.path == Path(made[2])
    assert nest.path.is_dir()
    nest.remove()


def test_a_worker_in_a_tree_clears_its_former_incarnations_directory(tmp_path: Path) -> None:
    (tmp_path / "slots" / "worker-0" / "slot-0-1").mkdir(parents=True)

    nest = Nest(tmp_path, "worker-0")

    assert nest.path == tmp_path / "slots" / "worker-0"
    assert not list(nest.path.iterdir())
    nest.remove()
    assert not nest.path.exists()


def test_rights_that_user_code_has_taken_away_keep_nothing_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with without_privileges(tmp_path):
        deep = Path("folder") / "closed" / "deeper"
        deep.mkdir(parents=True)
        (deep / "file").touch()
        Path("folder/link").symlink_to("/")
        deep.chmod(0o500)
        deep.parent.chmod(0)

        clear(Path("folder"))

        assert not Path("folder").exists()
