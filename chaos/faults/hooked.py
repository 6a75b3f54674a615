"""Shell: faults that a tree of our own does to itself, as long as there is a file in its hook directory."""

from pathlib import Path

from regrow.chaos.faults.base import Blow, Fault
from regrow.chaos.scene import Need
from regrow.chaos.undo import RemoveFile, Undo


class Hooked(Fault, frozen=True, kw_only=True):
    """The base of those."""

    needs = frozenset({Need.HOOKS})

    def files(self) -> dict[str, str]:
        """Names in the hook directory, and what is to be in them (see ``regrow.runtime.hooks``)."""
        raise NotImplementedError

    def prepare(self, blow: Blow) -> tuple[Undo, ...]:
        """Remove what will be there."""
        return tuple(RemoveFile(str(blow.scene.hook_directory() / name)) for name in self.files())

    def put_files(self, blow: Blow) -> None:
        """Whoever reads one reads all of it, or nothing."""
        for name, text in self.files().items():
            file: Path = blow.scene.hook_directory() / name
            file.parent.mkdir(mode=0o700, exist_ok=True)
            draft = file.with_name(f".{file.name}.new")
            draft.write_text(text)
            draft.rename(file)
