"""The stores fail: lost replies, kills, refusals, locks, a flushed cache."""

import os
import re
import shutil
import signal
import time

import psycopg
from redis import Redis

from cdp_devstack.parts import Part
from faults.proxy import Trouble
from faults.stack import FLOW, Stack, until
from faults.trial import FELT_SECONDS, Trial, fault

_NEWEST_PART = """
SELECT name, path, rows FROM system.parts WHERE active AND database = currentDatabase() AND table = 'events'
ORDER BY max_block_number DESC LIMIT 1
"""
_FIRSTS = """
SELECT received_partition AS number, min(received_offset) AS first FROM events WHERE _part = {part:String} GROUP BY 1
"""
_SETTLED = "SELECT partition, next_received_offset FROM identity.recorder_partitions WHERE topic = 'events-identified'"
_EVENTS = re.compile(rb"INTO(?:\+|%20| )(?:%60|`)?events[^_\w]")
_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'identity.nodes'::regclass"


def is_commit(data: bytes) -> bool:
    """A request to Postgres that ends a transaction."""
    return b"COMMIT" in data


def is_insert(data: bytes) -> bool:
    """A request to ClickHouse that writes a block with a token."""
    return b"insert_deduplication_token" in data


def is_insert_of_events(data: bytes) -> bool:
    """Such a request for the table that all counts rest on."""
    return is_insert(data) and _EVENTS.search(data) is not None


@fault("F7", "Postgres stopped immediately, killed, and blocked by a lock", *FLOW)
def postgres_goes(trial: Trial) -> None:
    stack, before = trial.stack, _quarantined(trial)
    with trial.load():
        for stop in (signal.SIGQUIT, signal.SIGKILL)[: trial.effort.of(2)]:
            os.kill(stack.parts.pid(Part.POSTGRES), stop)
            trial.kills += 1
            time.sleep(trial.chance.uniform(0.5, 3))
            stack.parts.restart(Part.POSTGRES)
            trial.proof.grows(50, 90)
        with psycopg.connect(stack.urls[Part.POSTGRES]) as blocker:
            blocker.execute("LOCK TABLE identity.nodes, identity.profiles IN ACCESS EXCLUSIVE MODE")
            until("somebody waits for the lock", lambda: blocker.execute(_WAITING).fetchone() != (0,), 30)
            time.sleep(5)
        trial.proof.grows(50, 90)
    after = _quarantined(trial)
    trial.demand(after == before, f"{after - before} events were quarantined for an outage of Postgres")


def _quarantined(trial: Trial) -> int:
    sql = "SELECT sum(count) AS n FROM event_outcomes WHERE outcome = 'quarantined'"
    return int(trial.proof.rows(sql)[0]["n"])


@fault("F8", "the reply to a COMMIT is lost, of the resolver and of the recorder", *FLOW)
def lost_commit_replies(trial: Trial) -> None:
    _lose_replies(trial, Part.POSTGRES, ("resolver", "recorder"), trial.effort.of(4))


def _lose_replies(trial: Trial, part: Part, services: tuple[str, ...], times: int) -> None:
    matches = is_commit if part is Part.POSTGRES else is_insert
    with trial.load():
        for service in services:
            proxy = trial.stack.proxy(part, service)
            for _ in range(times):
                before = proxy.struck
                proxy.trouble = Trouble(lose_reply_to=matches, times=1)
                until(f"{service} lost a reply", lambda p=proxy, b=before: p.struck > b, 60)  # type: ignore[misc]
                time.sleep(trial.chance.uniform(0.2, 1.0))
            proxy.trouble = Trouble()
            trial.notes.append(f"{service}: {proxy.struck} replies lost")


@fault("F9", "ClickHouse killed during inserts, a part lost, replies lost, requests cut, a view that throws", *FLOW)
def clickhouse_goes(trial: Trial) -> None:
    stack = trial.stack
    _lose_replies(trial, Part.CLICKHOUSE, ("recorder",), trial.effort.of(3))
    with trial.load():
        proxy = stack.proxy(Part.CLICKHOUSE, "recorder")
        for _ in range(trial.effort.of(2)):
            before = proxy.struck
            proxy.trouble = Trouble(cut_after=("up", trial.chance.randrange(500, 6000)), times=1)
            stack.proxies.reset(proxy)
            until("a request to ClickHouse is cut", lambda p=proxy, b=before: p.struck > b, 60)  # type: ignore[misc]
        proxy.trouble = Trouble()
        for _ in range(trial.effort.of(2)):
            _during_an_insert(stack)
            stack.parts.kill(Part.CLICKHOUSE)
            trial.kills += 1
            time.sleep(trial.chance.uniform(0.5, 3))
            stack.parts.restart(Part.CLICKHOUSE)
        _lost_part(trial)
        _throwing_view(trial)


def _lost_part(trial: Trial) -> None:
    """The moment of a kill that is too short to meet: the token of an insert is logged, and its part is not there."""
    stack = trial.stack
    proxy, before = stack.proxy(Part.CLICKHOUSE, "recorder"), _rewritten(trial)
    trial.proof.command("SYSTEM STOP MERGES events")  # until ClickHouse starts again
    while True:
        # what was in doubt before may be in a part that was merged
        passed, struck = _blocks(stack, "recorder"), proxy.struck
        until("the recorder records", lambda p=passed: _blocks(stack, "recorder") > p, 90)  # type: ignore[misc]
        proxy.trouble = Trouble(lose_reply_to=is_insert_of_events, times=1)
        until("a reply to an insert is lost", lambda s=struck: proxy.struck > s, 60)  # type: ignore[misc]
        stack.proxies.cut(proxy)
        part = trial.proof.rows(_NEWEST_PART)[0]
        if _is_in_doubt(trial, part["name"]):
            break
        stack.proxies.heal(proxy)
    stack.parts.kill(Part.CLICKHOUSE)
    trial.kills += 1
    shutil.rmtree(part["path"])
    stack.parts.restart(Part.CLICKHOUSE)
    stack.proxies.heal(proxy)
    until("the lost rows are written again", lambda: _rewritten(trial) > before, 90)
    trial.notes.append(f"a part of {part['rows']} events lost, {_rewritten(trial) - before} written again")


def _rewritten(trial: Trial) -> int:
    return int(trial.proof.rows("SELECT countIf(rewritten) AS n FROM events")[0]["n"])


def _is_in_doubt(trial: Trial, part: str) -> bool:
    """Whether the recorder waits for the reply to what became this part."""
    firsts = trial.proof.rows(_FIRSTS, part=part)
    with psycopg.connect(trial.stack.urls[Part.POSTGRES]) as connection:
        settled: dict[int, int] = dict(connection.execute(_SETTLED).fetchall())
    return bool(firsts) and all(row["first"] >= settled.get(row["number"], 0) for row in firsts)


def _during_an_insert(stack: Stack) -> None:
    carried = stack.proxy(Part.CLICKHOUSE, "recorder").carried
    until("ClickHouse gets data", lambda: stack.proxy(Part.CLICKHOUSE, "recorder").carried > carried + 1000, 60)


def _throwing_view(trial: Trial) -> None:
    """A view deployed in error: inserts fail after the source table may have its rows."""
    view = "CREATE MATERIALIZED VIEW faults_throwing ENGINE = Null AS SELECT throwIf(1, 'bad view') AS n FROM events"
    trial.proof.command(view)
    try:
        until("an insert meets the view", lambda: trial.stack.said("recorder", "bad view"), FELT_SECONDS)
        time.sleep(5)
    finally:
        trial.proof.command("DROP TABLE faults_throwing")


_WINDOW = 3
_TOKENED = ("events", "counters", "event_outcomes")


@fault("F10", "ClickHouse away from one recorder until it has forgotten the token of an insert in doubt", *FLOW)
def clickhouse_forgets(trial: Trial) -> None:
    stack, small = trial.stack, {"CDP_RECORDER_WINDOW_BLOCKS": str(_WINDOW)}
    _remember(trial, _WINDOW)
    try:
        with trial.load():
            for name in ("recorder", "recorder~2"):
                stack.restart(name, **small)
            for _ in range(trial.effort.of(4)):
                _forgotten(trial)
    finally:
        _remember(trial, 10_000)
        stack.end("recorder~2")
        stack.restart("recorder")


def _remember(trial: Trial, blocks: int) -> None:
    for table in _TOKENED:
        trial.proof.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {blocks}")


def _forgotten(trial: Trial) -> None:
    """The first recorder's insert arrives and its reply does not; the second one's blocks push its token out."""
    stack = trial.stack
    ours, other = stack.proxy(Part.CLICKHOUSE, "recorder"), "recorder~2"
    until("both recorders record", lambda: min(_blocks(stack, "recorder"), _blocks(stack, other)) > 0, 60)
    before = ours.struck
    ours.trouble = Trouble(lose_reply_to=is_insert_of_events, times=1)
    until("a reply to an insert is lost", lambda: ours.struck > before, 60)
    stack.proxies.cut(ours)
    passed = _blocks(stack, other)
    until("the other one's blocks fill the window", lambda: _blocks(stack, other) > passed + _WINDOW, 60)
    known = _found(stack)
    stack.proxies.heal(ours)
    until("the offsets decide", lambda: _found(stack) > known, 60)


def _blocks(stack: Stack, name: str) -> float:
    """Blocks of events: others push no token of theirs out."""
    return stack.metric(name, "cdp_recorder_block_rows_count", 'table="events"')


def _found(stack: Stack) -> float:
    """Rows that were in doubt and of which the store's offsets, not its tokens, told that they are there."""
    return stack.metric("recorder", "cdp_recorder_rows_total", 'settled="found"')


@fault("F11", "Redis killed, gone for a while, and back with nothing in it", *FLOW, "analytics-api")
def redis_goes(trial: Trial) -> None:
    """Whom it serves are the front door, and gateways that share their limits: each must have missed it."""
    stack, redis = trial.stack, Redis.from_url(trial.stack.urls[Part.REDIS])
    stack.restart("ingest", CDP_INGEST_SHARE_LIMITS="true", CDP_INGEST_EVENTS_PER_SECOND="100000")
    try:
        with trial.load():
            until("the gateway shares what it spent", lambda: bool(redis.exists(_SPENT)), 60)
            redis.set(_MARK, "here")
            stack.parts.kill(Part.REDIS)
            trial.kills += 1
            alone = _alone(stack)
            trial.proof.grows(100, 30)
            until("the gateway limits alone", lambda: stack.said("ingest", "limits_not_shared"), 30)
            until("the front door limits alone", lambda: _is_answered(trial) and _alone(stack) > alone, 30)
            stack.parts.restart(Part.REDIS)
            trial.demand(not redis.exists(_MARK), "Redis is back with what it had")
            trial.proof.grows(100, 30)
            until("the gateway shares again what it spent", lambda: bool(redis.exists(_SPENT)), 60)
            until("the front door asks Redis again", lambda: _is_answered(trial) and bool(redis.keys("front:*")), 30)
    finally:
        redis.close()
        stack.restart("ingest")


_SPENT, _MARK = "cdp:ingest:spent", "faults:mark"


def _is_answered(trial: Trial) -> bool:
    status = trial.stack.api("GET", "/segments").status_code
    trial.demand(status == 200, f"without Redis the front door answered {status}")
    return True


def _alone(stack: Stack) -> float:
    """Requests that the front door counted without Redis."""
    return stack.metric("analytics-api", "cdp_api_limiter_failures_total")
