"""Values: the scripts that move tasks, by name: their texts from lua/*.lua, and the digests that a server knows them by."""

import hashlib
from importlib.resources import files


class Script:
    """One script, with what it shares with others in front. It is sent by digest, and whole only to a server that does not know it."""

    def __init__(self, name: str, *shared: str) -> None:
        self.name = name
        folder = files("regrow.actors") / "lua"
        self.text = "".join((folder / f"{part}.lua").read_text() for part in ("moves", *shared, name))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


SUBMIT, FENCE, INHERIT, RECORD, SCAN = (Script(name) for name in ("submit", "fence", "inherit", "record", "scan"))
BEAT, MISSING = (Script(name, "places") for name in ("beat", "missing"))
MEND = Script("mend", "endings", "places")
CLAIM, SETTLE, CANCEL, DUE, FORGET = (
    Script(name, "endings") for name in ("claim", "settle", "cancel", "due", "forget")
)
