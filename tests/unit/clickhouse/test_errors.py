"""An error of the driver says who must act next."""

import aiohttp
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError, ProgrammingError

from cdp_clickhouse.errors import StoreRefused, StoreUnavailable, store_error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("Network Error: Connection refused"),
        DatabaseError("HTTP driver received status 503"),
        DatabaseError("Code: 252. Too many parts (3000)", code=252),
        DatabaseError("Code: 242. Table is in readonly mode", code=242),
        DatabaseError("Code: 241. (total) memory limit exceeded", code=241),
        aiohttp.ClientPayloadError("Response payload is not completed"),
        ConnectionResetError("Connection reset by peer"),
        TimeoutError(),
    ],
)
def test_trouble_of_the_store_is_to_be_waited_out(error):
    assert isinstance(store_error(error), StoreUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        DatabaseError("Code: 60. Unknown table", code=60),
        DatabaseError("Code: 62. Syntax error", code=62),
        DatabaseError("Code: 241. Query memory limit exceeded", code=241),
        DatabaseError("Code: 159. Timeout exceeded: maximum 5 s", code=159),
        DataError("Unable to create native array for column `count`"),
        ProgrammingError("Insert data column count does not match column names"),
    ],
)
def test_a_wrong_statement_is_refused(error):
    refused = store_error(error)
    assert isinstance(refused, StoreRefused)
    assert refused.code == (error.code or 0)


def test_the_message_is_one_line():
    assert (
        store_error(DatabaseError("Code: 62. Syntax error\nstack trace", code=62)).message == "Code: 62. Syntax error"
    )
