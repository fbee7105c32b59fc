"""A block -> the block durable exactly once, whatever happened to earlier attempts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from itertools import count

from cdp_clickhouse.errors import StoreError
from cdp_identity.recording.blocks import Block
from cdp_identity.recording.erasure import standing
from cdp_identity.recording.owners import Node
from cdp_identity.recording.ports import ColumnStore
from cdp_identity.recording.protocol import Verdict, lacking, verdict
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import RECORDER_ROWS_REWRITTEN
from cdp_runtime.patience import Patience

_log = get_logger(__name__)
Checkpoint = Callable[[str], None]


class Settled(Enum):
    """How a block became durable."""

    WRITTEN = "written"  # by a plain insert
    AGAIN = "again"  # by the same insert once more: the store knows whether it was new; a view may have lost it
    COMPLETED = "completed"  # by inserting only the rows that were missing
    FOUND = "found"  # it was there already; a view may have missed it


class Settlement:
    """Inserts blocks; after any doubt it first asks the store what is there."""

    def __init__(
        self,
        store: ColumnStore,
        patience: Patience,
        erased: Mapping[Node, datetime],
        *,
        window: int,
        checkpoint: Checkpoint,
    ) -> None:
        self._store, self._patience, self._erased = store, patience, erased
        self._window, self._checkpoint = window, checkpoint

    async def settle(self, block: Block, *, in_doubt: bool) -> Settled:
        """Returns when every row is in the store once. ``in_doubt``: an earlier attempt may have happened.

        Raises Stopping. A failed attempt puts the next one in doubt: the reply may be what was lost.
        """
        attempt = 0
        while True:
            try:
                return await (self._resettle(block) if in_doubt else self._write(block))
            except StoreError as error:
                await self._patience.after(error, attempt)
                attempt, in_doubt = attempt + 1, True

    async def _write(self, block: Block) -> Settled:
        self._checkpoint("before-insert")
        await self._store.insert(block)
        self._checkpoint("after-insert")
        return Settled.WRITTEN

    async def _resettle(self, block: Block) -> Settled:
        presence = await self._store.presence(block)
        expected = standing(block, self._erased)
        decided = verdict(expected, presence, self._window)
        if decided is Verdict.DONE:
            return Settled.FOUND
        if decided is Verdict.MISSING:
            block = block.only(lacking(block.received, expected, presence), f"{block.token}:missing")
        if decided is not Verdict.LOST:
            await self._write(block)
        await self._rewrite_lost(block)
        return Settled.COMPLETED if decided is Verdict.MISSING else Settled.AGAIN

    async def _rewrite_lost(self, sent: Block) -> None:
        """Write what is not there although the store took it: it had the token of a part that never came.

        Its views have counted the rows under that token. Every heir tries the same tokens in the same order, and stops
        when it finds the rows there.
        """
        for attempt in count(1):
            presence = await self._store.presence(sent)
            absent = lacking(sent.received, standing(sent, self._erased), presence)
            if not absent:
                return
            RECORDER_ROWS_REWRITTEN.labels(sent.table).inc(len(absent))
            _log.warning("rows_rewritten", token=sent.token, rows=len(absent), attempt=attempt)
            await self._write(sent.rewritten(absent, f"{sent.token}:rewritten:{attempt}"))

    async def repair(self, block: Block) -> None:
        """Fills what a view missed or lost of a block that was FOUND or sent AGAIN. Only after all blocks of its flush:

        a repair counts what the table holds, also rows of a neighbouring block that its view is still to get. A store
        that is killed may keep the token of a part that never came: it then takes the same insert for a repetition.
        """
        await self._patience.until_done(lambda: self._store.repair(block))
