"""A pool -> why Postgres does not answer, for /readyz: asked all the time, for one that hangs reports nothing."""

import asyncio
from typing import Final

from cdp_runtime.postgres import Pool, pool_fault

_EVERY_SECONDS: Final = 2.0


class PostgresWatch:
    """From ``start`` to ``stop``; ``fault`` is what it found last."""

    def __init__(self) -> None:
        self.fault: str | None = "Postgres was not asked yet"
        self._asking: asyncio.Task[None] | None = None

    def start(self, pool: Pool) -> None:
        self._asking = asyncio.create_task(self._ask(pool))

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self, pool: Pool) -> None:
        while True:
            self.fault = await pool_fault(pool)
            await asyncio.sleep(_EVERY_SECONDS)
