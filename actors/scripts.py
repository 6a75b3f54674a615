"""Values: the scripts that move tasks, by name: their texts from lua/*.lua, and the digests that a server knows them by."""

import hashlib
from importlib.resources import files


class Script:
    """One script, the table of legal moves in front. It is sent by digest, and whole only to a server that does not know it."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = files("regrow.actors") / "lua"
        self.text = (folder / "moves.lua").read_text() + (folder / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


SUBMIT, CLAIM, SETTLE, BEAT, INHERIT = (Script(name) for name in ("submit", "claim", "settle", "beat", "inherit"))
