"""Silent brokers are asked why, and what they said is forgotten once they are heard of again."""

from typing import Any

from cdp_devstack.parts import free_ports
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.hearing import Hearing
from cdp_eventlog.log import Partition


class Deaf(Hearing):
    """Hears nothing of these partitions."""

    def __init__(self, brokers: Brokers) -> None:
        super().__init__(brokers)
        self.unheard = {Partition("t", 0)}

    def silent(self, consumer: Any) -> set[Partition]:
        return self.unheard


async def test_silence_has_its_reason_while_it_lasts() -> None:
    brokers = Brokers(f"127.0.0.1:{free_ports(1)[0]}")
    hearing = Deaf(brokers)
    await hearing.listen(None)
    said = hearing.fault(None) or ""
    assert said.startswith(f"Kafka at {brokers} no longer answers for t/0 (Kafka at {brokers} does not answer: [Errno ")
    heard, hearing.unheard = hearing.unheard, set()
    await hearing.listen(None)
    assert hearing.fault(None) is None
    hearing.unheard = heard
    await hearing.listen(None)
    assert hearing.fault(None) == f"Kafka at {brokers} no longer answers for t/0", "it was asked a moment ago"
