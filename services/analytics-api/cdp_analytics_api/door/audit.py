"""Requests for personal data -> audit rows, durable before the answer leaves."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from cdp_analytics_api.door.faults import answer
from cdp_analytics_api.door.operations import Operations, principal_of
from cdp_analytics_api.door.requests import STARTS, App, Message, Receive, Scope, Send
from cdp_analytics_api.ports import AuditEntry, AuditLog
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import unavailable
from cdp_schemas.nodes import node_id

Waiting = tuple[AuditEntry, "asyncio.Future[None]"]
_AT_ONCE: Final = 2  # groups that are written; one waits for the disk while the next is on its way to it


class AuditTrail:
    """Writes entries in groups, two at once at most: whoever comes while both are under way goes with the next one."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._waiting: list[Waiting] = []
        self._writers: list[asyncio.Task[None]] = []

    async def record(self, entry: AuditEntry) -> None:
        """Returns when the entry is durable. Raises what the log raises."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        self._writers = [writer for writer in self._writers if not writer.done()]
        if len(self._writers) < _AT_ONCE:
            self._writers.append(asyncio.create_task(self._write()))
        await written

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await self._log.write([entry for entry, _ in group])
            except Exception as error:
                _settle(group, error)
            else:
                _settle(group, None)


def _settle(group: Sequence[Waiting], error: Exception | None) -> None:
    for _, written in group:
        if written.done():
            continue  # its request was cancelled
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


class Audit:
    """The layer that holds an answer back until it is on record; without a record there is no answer (503)."""

    def __init__(self, app: App, *, trail: AuditTrail, operations: Operations, clock: Clock) -> None:
        self._app, self._trail, self._operations, self._clock = app, trail, operations, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        gate = _Gate(self, scope, receive, send)
        await self._app(scope, receive, gate.send)

    async def recorded(self, scope: Scope, status: int) -> bool:
        """True when there is nothing to record or it is recorded; False when the log is out of reach."""
        entry = self._entry(scope, status)
        if entry is None:
            return True
        try:
            await self._trail.record(entry)
        except (psycopg.Error, PoolTimeout):
            return False
        return True

    def _entry(self, scope: Scope, status: int) -> AuditEntry | None:
        operation, principal = self._operations.of(scope), principal_of(scope)
        if principal is None or not operation.is_personal:
            return None
        return AuditEntry(
            workspace_id=principal.workspace_id,
            at=self._clock.now(),
            request_id=scope["state"]["request_id"],
            token_id=principal.token_id,
            method=scope.get("method", "WEBSOCKET"),
            route=operation.path,
            subject=subject(principal.workspace_id, scope.get("path_params", {})),
            scope=operation.scope,
            status=status,
        )


@dataclass
class _Gate:
    """One answer on its way out."""

    audit: Audit
    scope: Scope
    receive: Receive
    forward: Send
    _refused: bool = field(default=False)

    async def send(self, message: Message) -> None:
        if message["type"] in STARTS and not await self.audit.recorded(self.scope, message.get("status", 101)):
            await self._refuse()
        if not self._refused:
            await self.forward(message)

    async def _refuse(self) -> None:
        self._refused = True
        error = unavailable("postgres", "Postgres does not answer, so this access cannot be put on record.")
        await answer(error)(self.scope, self.receive, self.forward)


def subject(workspace_id: str, path_params: dict[str, str]) -> str:
    """Whose data: the last id in the path. A ``kind:value`` is kept as its node, so that no email enters the audit."""
    # one subject that Postgres cannot keep would take the records of all who are written with it
    ref = str(next(reversed(path_params.values()), "")).replace("\x00", "")
    kind, colon, value = ref.partition(":")
    if not colon:
        return ref[:200]
    kind, value = kind.lower(), value.strip()
    return f"node-{node_id(workspace_id, kind, value.lower() if kind == 'email' else value).hex}"
