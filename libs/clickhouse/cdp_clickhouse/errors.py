"""Whatever the driver raises -> who must act next: wait for the store, or change the statement."""

from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, Error, OperationalError

# the store's own trouble, not the statement's: the same request may succeed later
_PASSING: Final = {
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    734: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
}
_MEMORY_LIMIT: Final = 241


class StoreError(Exception):
    """Something between us and ClickHouse. ``code`` is ClickHouse's, 0 when it never answered."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StoreUnavailable(StoreError):
    """ClickHouse is down, overloaded or out of reach: the same request may succeed later.

    An insert that ends so may have happened: try it again with the same token.
    """


class StoreRefused(StoreError):
    """ClickHouse answered no, and will again: the statement or its data must change (or the table)."""


def store_error(error: Exception) -> StoreError:
    """The error of ours that says who must act."""
    message = _first_line(error)
    code = error.code if isinstance(error, Error) and error.code else 0
    if code:
        passing = code in _PASSING or (code == _MEMORY_LIMIT and "(total)" in message)
        return StoreUnavailable(message, code) if passing else StoreRefused(message, code)
    # without a code: the transport (OperationalError), or a proxy that answered for a server that is away
    unreachable = isinstance(error, OperationalError) or type(error) is DatabaseError
    if unreachable or not isinstance(error, ClickHouseError):
        return StoreUnavailable(message)
    return StoreRefused(message)


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.strip().splitlines()[0][:1000]
