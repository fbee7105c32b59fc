"""The loop of deliveries: due destinations in, one task for each; claim, plan, send, record, until nothing is due."""

import asyncio

import structlog

from cdp_activation.bucket import TokenBucket
from cdp_activation.destinations.registry import DESTINATIONS
from cdp_activation.ledger import DestinationKey, DestinationState
from cdp_activation.line import Line, LinePorts
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.replacement import Replacement
from cdp_activation.rounds import Rounds
from cdp_clickhouse.errors import StoreUnavailable
from cdp_eventlog.waiting import is_set_within
from cdp_runtime.postgres import retryable

_log = structlog.get_logger(__name__)


class Deliverer:
    """Destinations never wait for one another; the audiences of one destination take turns."""

    def __init__(self, ports: WorkerPorts, policies: Policies) -> None:
        self._ports, self._policies = ports, policies
        self._rounds = Rounds(ports, policies)
        self._replacement = Replacement(ports, policies, self._rounds)
        self._tasks: dict[DestinationKey, asyncio.Task[None]] = {}
        self._buckets: dict[DestinationKey, TokenBucket] = {}
        self._again: set[DestinationKey] = set()
        self._awake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """There may be work: look now instead of at the next poll."""
        self._awake.set()

    async def run(self) -> None:
        """Looks for due destinations until ``stop``; an outage of a store only makes it wait."""
        while not self._stopping:
            self._awake.clear()
            try:
                for key in await self._ports.directory.due(self._ports.clock.now()):
                    self._begin(key)
            except Exception as error:
                if not retryable(error):
                    raise
            await is_set_within(self._awake, self._policies.poll_seconds)

    async def stop(self, patience_seconds: float = 15.0) -> None:
        """Lets open calls end; what is not recorded by then is sent again by the next worker."""
        self._stopping = True
        self._replacement.stop()
        self.wake()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=patience_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, key: DestinationKey) -> None:
        if self._stopping:
            return
        if key in self._tasks:
            # what is due may have come after the task's last look at it
            self._again.add(key)
            return
        task = self._tasks[key] = asyncio.create_task(self._work(key), name=f"deliver {key.destination_id}")
        task.add_done_callback(lambda _: self._end(key))

    def _end(self, key: DestinationKey) -> None:
        self._tasks.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.wake()

    async def _work(self, key: DestinationKey) -> None:
        """All that is due at one destination. Nothing that happens here may end another destination's task."""
        try:
            if not await self._ports.holdings.hold(key):
                await asyncio.sleep(self._policies.poll_seconds)
                return
            try:
                await self._serve(key)
            finally:
                await self._ports.holdings.let_go(key)
        except Exception as error:
            expected = retryable(error) or isinstance(error, StoreUnavailable)
            _log.log(
                30 if expected else 40,
                "deliveries_interrupted",
                destination=key.destination_id,
                reason=str(error),
                exc_info=None if expected else error,
            )
            await asyncio.sleep(1.0)

    async def _serve(self, key: DestinationKey) -> None:
        state = await self._ports.directory.destination(key)
        if state is None or not state.ready or state.type not in DESTINATIONS:
            return
        line = self._line(state)
        worked = 1
        while worked and not self._stopping:
            worked = 0
            for connection in await self._ports.directory.connections(key):
                if self._stopping or line.blocked(self._ports.clock.now()) is not None:
                    return
                if not await self._goes_on(state):
                    return
                if connection.replace_session is not None and connection.paused_class is None:
                    worked += await self._replacement.run(line, connection)
                else:
                    worked += await self._rounds.run(line, connection)

    async def _goes_on(self, state: DestinationState) -> bool:
        """Whether it is still for this process to call, and the destination is as before: work may last for hours."""
        key = state.key
        return await self._ports.holdings.healthy(key) and state.is_still(await self._ports.directory.destination(key))

    def _line(self, state: DestinationState) -> Line:
        return Line(
            state,
            DESTINATIONS[state.type],
            LinePorts(self._ports.calls, self._ports.directory, self._ports.clock),
            bucket=self._bucket(state),
            policy=self._policies.breaker,
            phone_region=self._policies.phone_region,
        )

    def _bucket(self, state: DestinationState) -> TokenBucket:
        """As the destination's last task left it. Those that filled again since then are forgotten."""
        now = self._ports.clock.monotonic()
        left = self._buckets.items()
        self._buckets = {key: bucket for key, bucket in left if key in self._tasks or not bucket.is_full(now)}
        rate = float(state.settings.get("requestsPerSecond") or DESTINATIONS[state.type].entry.requests_per_second)
        bucket = self._buckets.setdefault(state.key, TokenBucket.full(rate, now))
        bucket.change(rate, now)
        return bucket
