"""Steps of the shop -> calls of the unmodified Segment Python SDK -> the gateway."""

from collections.abc import Iterable

from segment.analytics.client import Client

from cdp_devstack.demo.shop import Step


class Sender:
    """One SDK client; ``failures`` holds what the SDK gave up on."""

    def __init__(self, gateway: str, write_key: str) -> None:
        self.failures: list[str] = []
        self._client = Client(
            write_key,
            host=gateway,
            gzip=True,
            upload_interval=0.2,
            on_error=lambda error, batch: self.failures.append(f"{len(batch)} events: {error}"),
        )

    def send(self, steps: Iterable[Step]) -> int:
        """Hands the calls to the SDK's queue; returns how many."""
        count = 0
        for step in steps:
            self._call(step)
            count += 1
        return count

    def flush(self) -> None:
        """Returns when everything queued was answered."""
        self._client.flush()

    def close(self) -> None:
        self._client.shutdown()

    def _call(self, step: Step) -> None:
        common = {"user_id": step.user_id, "anonymous_id": step.anonymous_id, "timestamp": step.at}
        if step.call == "identify":
            self._client.identify(traits=step.body, **common)
        elif step.call == "page":
            self._client.page(properties=step.body, **common)
        else:
            self._client.track(event=step.event, properties=step.body, **common)
