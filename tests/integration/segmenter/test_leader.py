"""Who leads asks Postgres all the time, and so knows when it is away."""

import psycopg
import pytest
from tests.databases import fresh_database

from cdp_segmenter.adapters.postgres_leader import PostgresLeader


async def test_nobody_leads_while_postgres_is_away_and_who_led_does_again(postgres_url: str) -> None:
    url = await fresh_database(postgres_url, "leader_test")
    leader = PostgresLeader(url)
    assert await leader.leads()
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as administrator:
        await administrator.execute("ALTER DATABASE leader_test ALLOW_CONNECTIONS false")
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'leader_test'"
        )
        for _ in range(2):  # the session that broke, and no other
            with pytest.raises(psycopg.Error):
                await leader.leads()
        await administrator.execute("ALTER DATABASE leader_test ALLOW_CONNECTIONS true")
    assert await leader.leads()
    await leader.stop()
