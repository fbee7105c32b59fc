"""Texts that must not be somewhere -> I11 (another workspace's) and I12 (erased): searched in every store."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from cdp_eventlog.compression import decompress
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.events import RefusedEvent
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ
from cdp_verify.findings import Finding, finding, not_checked
from cdp_verify.journal import Run
from cdp_verify.shop import canary
from cdp_verify.stores import Stores

_LETTERS: Final = Codec(RefusedEvent)
# what of each row a text may hide in; every query gives workspace and where
_IN_CLICKHOUSE: Final[Mapping[str, str]] = {
    "events": "concatWithSeparator(' ', event, user_id, anonymous_id, properties, traits, context, session_id)",
    "profiles": "concat(toJSONString(identifiers), ' ', toString(traits))",
}
_IN_POSTGRES: Final[Mapping[str, str]] = {
    "identity.nodes": "value || ' ' || encode(coalesce(state, ''), 'escape')",
    "identity.profiles": "coalesce(traits::text, '')",
    "identity.orders": "order_id || ' ' || encode(coalesce(facts, ''), 'escape')",
    "front.quarantine": "coalesce(message_id, '') || ' ' || detail || ' ' || encode(raw, 'escape')",
    "activation.deliveries": "coalesce(encode(sent, 'escape'), '')",
}
_OUTBOXES: Final[Mapping[str, str]] = {
    "segmenter.outbox": "encode(message, 'escape')",
    "activation.outbox": "encode(message, 'escape')",
}


async def check_tenancy(stores: Stores, run: Run) -> Finding:
    """I11: the canaries of each of the run's workspaces, in the rows of all others."""
    workspaces = run.workspaces
    if len(workspaces) < 2:
        return not_checked("I11", "the journal has one workspace; load two or more (--write-key, several times)")
    result = finding("I11")
    for workspace in workspaces:
        strangers = [canary(run.prefix, other) for other in workspaces if other != workspace]
        for place, count in [pair async for pair in _places(stores, strangers, workspace)]:
            if count:
                result.wrong(f"{workspace}: {count} rows of {place} hold a text of another workspace")
    letters = await _stray_letters(stores, run, result)
    told = f"and {letters:,} dead letters" if stores.log is not None else "dead letters not looked at"
    result.compared = (
        f"canaries of {len(workspaces)} workspaces in {len(_IN_CLICKHOUSE) + len(_IN_POSTGRES)} tables, {told}"
    )
    return result


async def check_erasure(stores: Stores, erased: Sequence[str]) -> Finding:
    """I12: these texts are in no row and no key. Topics forget by retention and compaction, within their own time."""
    if not erased:
        return not_checked("I12", "no erased text was given (--erased)")
    result, places = finding("I12"), 0
    async for place, count in _places(stores, erased, stores.scope.workspace_id):
        places += 1
        if count:
            result.wrong(f"{count} rows of {place} still hold an erased text")
    for outbox, text in _OUTBOXES.items():
        places += 1
        sql = f"SELECT count(*) AS n FROM {outbox} WHERE {_hit(text)}"  # noqa: S608 - constants
        if count := (await stores.postgres.rows(sql, {"texts": _escaped(erased)}))[0]["n"]:
            result.wrong(f"{count} messages of {outbox} still hold an erased text")
    places += 1
    if count := await _in_batches(stores, erased):
        result.wrong(f"{count} batches of segmenter.outbox_batches still hold an erased text")
    if stores.redis_url is not None:
        places += 1
        result.all_wrong([f"the key {key!r} in Redis" async for key in _in_redis(stores.redis_url, erased)])
    else:
        result.notes.append("Redis was not searched")
    result.notes.append("topics were not searched: they forget by retention and compaction")
    result.compared = f"{len(erased)} texts in {places} places"
    return result


async def _places(stores: Stores, texts: Sequence[str], workspace: str | None) -> AsyncIterator[tuple[str, int]]:
    for table, text in _IN_CLICKHOUSE.items():
        where = "1" if workspace is None else "workspace_id = {asked:String}"
        final = " FINAL" if table == "profiles" else ""
        sql = (
            f"SELECT count() AS n FROM {table}{final} WHERE {where} AND multiSearchAny({text}, {{texts:Array(String)}})"  # noqa: S608 - constants
        )
        values = {"texts": list(texts)} if workspace is None else {"texts": list(texts), "asked": workspace}
        yield f"ClickHouse {table}", (await stores.events(sql, **values))[0]["n"]
    for table, text in _IN_POSTGRES.items():
        where = "(%(workspace)s::text IS NULL OR workspace_id = %(workspace)s)"
        sql = f"SELECT count(*) AS n FROM {table} WHERE {where} AND {_hit(text)}"  # noqa: S608 - constants
        found = await stores.postgres.rows(sql, {"workspace": workspace, "texts": _escaped(texts)})
        yield f"Postgres {table}", found[0]["n"]


async def _in_batches(stores: Stores, texts: Sequence[str]) -> int:
    """Batches that wait to be told about memberships; what is compressed cannot be searched where it lies."""
    wanted, count = [text.encode() for text in texts], 0
    async for row in stores.postgres.stream("SELECT messages FROM segmenter.outbox_batches"):
        messages = decompress(row["messages"])
        count += any(text in messages for text in wanted)
    return count


def _hit(text: str) -> str:
    return f"EXISTS (SELECT FROM unnest(%(texts)s::text[]) AS t WHERE position(t IN {text}) > 0)"


def _escaped(texts: Sequence[str]) -> list[str]:
    """As they are, and as Postgres writes their bytes out."""
    return sorted({form for text in texts for form in (text, _as_bytes(text))})


def _as_bytes(text: str) -> str:
    def spelled(byte: int) -> str:
        if byte == ord("\\"):
            return "\\\\"
        return chr(byte) if 0 < byte < 128 else f"\\{byte:03o}"

    return "".join(spelled(byte) for byte in text.encode())


async def _stray_letters(stores: Stores, run: Run, result: Finding) -> int:
    if stores.log is None:
        return 0
    canaries = {workspace: canary(run.prefix, workspace).encode() for workspace in run.workspaces}
    letters = 0
    async for record in stores.log.records(EVENTS_RECEIVED_DLQ):
        try:
            letter = _LETTERS.decode(record.value)
        except InvalidMessage:
            continue  # I15 tells
        letters += 1
        for workspace in _strays(letter, canaries):
            result.wrong(f"{letter.workspace_id}: a dead letter at {record.offset} holds a text of {workspace}")
    return letters


def _strays(letter: RefusedEvent, canaries: Mapping[str, bytes]) -> Iterator[str]:
    for workspace, text in canaries.items():
        if workspace != letter.workspace_id and text in letter.raw:
            yield workspace


async def _in_redis(url: str, texts: Sequence[str]) -> AsyncIterator[str]:
    client = Redis.from_url(url)
    wanted = [text.encode() for text in texts]
    try:
        async for key in client.scan_iter(count=1000):
            kind = await client.type(key)
            kept = await client.get(key) if kind == b"string" else await _dumped(client, key)
            if any(text in key or text in (kept or b"") for text in wanted):
                yield key.decode(errors="replace")
    finally:
        await client.aclose()


async def _dumped(client: Redis, key: bytes) -> bytes:
    """A value of any type as Redis serialises it; short texts are in there as they are."""
    return await client.dump(key) or b""
