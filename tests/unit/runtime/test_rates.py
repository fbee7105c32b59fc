"""Attempts are let through up to the burst, then at the rate; the table of keys stays bounded."""

from cdp_runtime.rates import Rates


class Seconds:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate_and_the_wait_is_told() -> None:
    seconds = Seconds()
    rates = Rates(60, 3, seconds)
    assert [rates.admit("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    assert rates.admit("b") == 0, "each key by itself"
    seconds.now += 1
    assert [rates.admit("a") for _ in range(2)] == [0, 1]
    seconds.now += 3600
    assert [bool(rates.admit("a")) for _ in range(4)] == [False, False, False, True], "no more than the burst gathers"


def test_what_is_forgiven_did_not_count() -> None:
    rates = Rates(60, 1, Seconds())
    for _ in range(5):
        assert rates.admit("a") == 0
        rates.forgive("a")
    rates.forgive("never seen")
    assert [rates.admit("a"), rates.admit("a")] == [0, 1]


def test_a_flood_of_keys_neither_grows_the_table_nor_frees_who_comes_again() -> None:
    rates = Rates(1, 1, Seconds(), most=100)
    rates.admit("old")
    for number in range(99):
        rates.admit(f"key-{number}")
    assert rates.admit("old") > 0, "it is still known"
    for number in range(10_000):
        rates.admit(f"more-{number}")
    assert len(rates._rested) == 100
