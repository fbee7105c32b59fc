"""The checker itself is tested: each way of breaking the pipeline that it is there for, it must see."""

import copy
import json
from typing import Any

import pytest
from tests.faults.checker import check
from tests.faults.load import Journal, Shop


class FakeStores:
    """The stores as a faultless pipeline would leave them, ready to be broken."""

    def __init__(self, journal: Journal) -> None:
        from tests.faults.checker import oracle

        self.rows = [
            {
                "message_id": key,
                "event": entry.event.get("event") or entry.event["type"],
                "user_id": entry.event.get("userId", ""),
                "anonymous_id": entry.event["anonymousId"],
                "properties": json.dumps(entry.event.get("properties", {})),
            }
            for key, entry in journal.having("accepted").items()
        ]
        self.money = {user: (said.ltv_cents, said.orders) for user, said in oracle(journal.entries).items()}

    def events(self, prefix: str) -> list[dict[str, Any]]:
        return self.rows

    def recount(self) -> list[dict[str, Any]]:
        return []

    def repeated_offsets(self) -> list[dict[str, Any]]:
        return []

    def revenue(self, prefix: str) -> dict[str, tuple[int, int]]:
        return self.money


@pytest.fixture
def journal() -> Journal:
    journal = Journal("t")
    for event in Shop("t", 7).batch(400):
        journal.note(event).answer = "accepted"
    return journal


def test_a_faultless_run_passes(journal: Journal) -> None:
    assert check(journal, FakeStores(journal)) == {}  # type: ignore[arg-type]


def lose_one(stores: FakeStores) -> None:
    stores.rows.pop(123)


def double_one(stores: FakeStores) -> None:
    stores.rows.append(copy.copy(stores.rows[5]))


def invent_one(stores: FakeStores) -> None:
    stores.rows.append({**stores.rows[5], "message_id": "t-never-sent"})


def swap_people(stores: FakeStores) -> None:
    a, b = (row for row in stores.rows if row["user_id"]), iter(stores.rows[::-1])
    first, second = next(a), next(row for row in b if row["user_id"])
    first["user_id"], second["user_id"] = second["user_id"] + "x", first["user_id"]


def one_cent_more(stores: FakeStores) -> None:
    user, (cents, orders) = next(iter(stores.money.items()))
    stores.money[user] = (cents + 1, orders)


@pytest.mark.parametrize("damage", [lose_one, double_one, invent_one, swap_people, one_cent_more])
def test_every_damage_is_seen(journal: Journal, damage: Any) -> None:
    stores = FakeStores(journal)
    damage(stores)
    assert check(journal, stores) != {}  # type: ignore[arg-type]
