"""Shell: a bell that one coroutine waits for, at most so long; once rung it stays so until it is stilled."""

import asyncio


class Bell:
    """Lives in one event loop."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake who waits, or who will."""
        self._rung.set()

    def still(self) -> None:
        """Whoever waits from now on waits for the next time."""
        self._rung.clear()

    async def rung(self, within_s: float) -> bool:
        """Wait; False when it was not rung within ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True
