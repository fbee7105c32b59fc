"""The ledger of deliveries, memberships, gates and the stand-in -> I9: destinations were told what they should hold."""

from collections.abc import Iterator, Sequence, Set
from typing import Final
from urllib.parse import urlsplit

import httpx

from cdp_schemas.profiles import profile_ref
from cdp_verify.checks.gates import check_gates, name_of
from cdp_verify.findings import Finding, finding
from cdp_verify.stores import Row, Stores

_WORKSPACE: Final = "(%(workspace)s::text IS NULL OR d.workspace_id = %(workspace)s)"
_STATES: Final = f"""
SELECT count(*) AS rows, count(*) FILTER (WHERE d.acknowledged) AS acknowledged,
       count(*) FILTER (WHERE d.outcome IS NOT NULL AND d.desired AND NOT d.acknowledged) AS held,
       count(*) FILTER (WHERE d.desired AND d.sent IS NOT NULL AND NOT d.pending
                        AND d.outcome IN ('rejected', 'gave_up')) AS stale
FROM activation.deliveries AS d WHERE {_WORKSPACE}
"""  # noqa: S608 - a constant
# of what is not settled nobody can say what is there
_WAITING: Final = f"""
SELECT count(*) FILTER (WHERE paused) AS paused, count(*) FILTER (WHERE NOT paused) AS later FROM (
    SELECT NOT t.enabled OR t.paused_class IS NOT NULL OR c.paused_class IS NOT NULL AS paused
    FROM activation.deliveries AS d
    JOIN activation.connections AS c USING (workspace_id, audience_id, destination_id)
    JOIN activation.destinations AS t USING (workspace_id, destination_id)
    WHERE d.pending AND t.deleted_at IS NULL AND {_WORKSPACE}
) AS waiting
"""  # noqa: S608 - a constant
# at rest: nothing due where it could be sent, and what is wanted is there unless an outcome is a reason why not
_UNEQUAL: Final = f"""
SELECT d.workspace_id, d.destination_id, d.audience_id, d.profile_id, d.desired, d.acknowledged, d.pending, d.outcome
FROM activation.deliveries AS d
JOIN activation.connections AS c USING (workspace_id, audience_id, destination_id)
JOIN activation.destinations AS t USING (workspace_id, destination_id)
WHERE t.enabled AND t.paused_class IS NULL AND c.paused_class IS NULL AND {_WORKSPACE}
  AND (d.pending AND d.next_attempt_at < now()
    OR NOT d.pending AND d.desired <> d.acknowledged AND d.outcome IS NULL
    OR NOT d.pending AND d.desired AND NOT d.acknowledged
       AND d.outcome NOT IN ('suppressed', 'no_consent', 'unmatched', 'rejected', 'gave_up')
    OR NOT d.pending AND d.acknowledged AND d.sent IS NULL)
LIMIT 1000
"""  # noqa: S608 - a constant
# a removal that was refused or given up: nothing more happens by itself, and the member may be there. Who deletes a
# destination is told of the members that stay
_LEFT: Final = f"""
SELECT d.workspace_id, d.destination_id, d.audience_id, d.profile_id, d.cause, d.outcome, d.last_error
FROM activation.deliveries AS d
JOIN activation.destinations AS t USING (workspace_id, destination_id)
WHERE NOT d.desired AND d.sent IS NOT NULL AND NOT d.pending AND t.deleted_at IS NULL AND {_WORKSPACE}
LIMIT 1000
"""  # noqa: S608 - a constant
# of a destination that is deleted everything is forgotten by and by
_UNFOUNDED: Final = f"""
SELECT d.workspace_id, d.destination_id, d.audience_id, d.profile_id,
       c.active IS NOT TRUE OR a.deleted_at IS NOT NULL AS is_over
FROM activation.deliveries AS d
JOIN activation.audiences AS a USING (workspace_id, audience_id)
JOIN activation.destinations AS t USING (workspace_id, destination_id)
LEFT JOIN activation.connections AS c USING (workspace_id, audience_id, destination_id)
WHERE d.desired AND {_WORKSPACE} AND (
    t.deleted_at IS NULL AND (c.active IS NOT TRUE OR a.deleted_at IS NOT NULL) OR NOT EXISTS (
    SELECT FROM segmenter.memberships AS m
    WHERE m.workspace_id = d.workspace_id AND m.profile_id = d.profile_id AND m.member
      AND m.segment_id = ANY(a.segment_ids)))
LIMIT 1000
"""  # noqa: S608 - a constant
_MISSING: Final = f"""
SELECT DISTINCT d.workspace_id, d.destination_id, d.audience_id, m.profile_id FROM activation.connections AS d
JOIN activation.audiences AS a USING (workspace_id, audience_id)
JOIN segmenter.memberships AS m ON m.workspace_id = d.workspace_id AND m.segment_id = ANY(a.segment_ids) AND m.member
WHERE d.active AND a.deleted_at IS NULL AND {_WORKSPACE} AND NOT EXISTS (
    SELECT FROM activation.deliveries AS x
    WHERE x.workspace_id = d.workspace_id AND x.destination_id = d.destination_id
      AND x.audience_id = d.audience_id AND x.profile_id = m.profile_id AND x.desired)
LIMIT 1000
"""  # noqa: S608 - a constant
_HOOKED: Final = f"""
SELECT DISTINCT d.audience_id, coalesce(t.settings ->> 'url', '') AS url FROM activation.deliveries AS d
JOIN activation.destinations AS t USING (workspace_id, destination_id)
WHERE t.type = 'webhook' AND {_WORKSPACE}
"""  # noqa: S608 - a constant
_TOLD: Final = f"""
SELECT d.profile_id, bool_or(d.acknowledged) AS acknowledged FROM activation.deliveries AS d
JOIN activation.destinations AS t USING (workspace_id, destination_id)
WHERE t.type = 'webhook' AND t.settings ->> 'url' = ANY(%(urls)s) AND d.audience_id = %(audience)s
  AND (d.acknowledged OR d.sent IS NOT NULL) AND {_WORKSPACE}
GROUP BY d.profile_id
"""  # noqa: S608 - a constant
_STALE: Final = "members are wanted, and their last change was refused or given up: an older form of them may be there"
_CALLS: Final = 5000
_REUSED: Final = "seen before with another body"  # what the stand-in notes of such a call


async def check_deliveries(stores: Stores) -> Finding:
    """I9, at rest. Of platforms only the local stand-in can be asked what it holds."""
    result, asked = finding("I9"), {"workspace": stores.scope.workspace_id}
    states = (await stores.postgres.rows(_STATES, asked))[0]
    for row in await stores.postgres.rows(_UNEQUAL, asked):
        state = "still due" if row["pending"] else "not due"
        wanted = f"desired {row['desired']}, acknowledged {row['acknowledged']}, {row['outcome']}, {state}"
        result.wrong(f"{name_of(row)}: {wanted}")
    for row in await stores.postgres.rows(_LEFT, asked):
        why = f"the removal ({row['cause']}) ended as {row['outcome']}: {row['last_error']}"
        result.wrong(f"{name_of(row)} must not be there and may be: {why}")
    for row in await stores.postgres.rows(_UNFOUNDED, asked):
        why = "the audience is given up there" if row["is_over"] else "is a member of none of the audience's segments"
        result.wrong(f"{name_of(row)} is desired, and {why}")
    for row in await stores.postgres.rows(_MISSING, asked):
        result.wrong(f"{name_of(row)} is a member, and the ledger does not want it there")
    waiting = (await stores.postgres.rows(_WAITING, asked))[0]
    _tell(result, states["stale"], _STALE)
    _tell(result, waiting["paused"], "deliveries wait where the destination or the audience is paused or switched off")
    _tell(result, waiting["later"], "deliveries wait for another attempt")
    await check_gates(stores, result)
    if stores.standin_url:
        await _standin(stores, stores.standin_url, result)
    else:
        result.notes.append("what destinations hold was not asked (--standin)")
    result.compared = (
        f"{states['rows']:,} deliveries, {states['acknowledged']:,} acknowledged, {states['held']:,} held with a reason"
    )
    return result


def _tell(result: Finding, count: int, what: str) -> None:
    if count:
        result.notes.append(f"{count:,} {what}")


async def _standin(stores: Stores, url: str, result: Finding) -> None:
    asked = {"workspace": stores.scope.workspace_id}
    hooked = await stores.postgres.rows(_HOOKED, asked)
    urls = [row["url"] for row in hooked if urlsplit(row["url"]).netloc == urlsplit(url).netloc]
    audiences = {row["audience_id"] for row in hooked if row["url"] in urls}
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for audience in sorted(audiences):
            told = await stores.postgres.rows(_TOLD, {**asked, "audience": audience, "urls": urls})
            result.all_wrong(_unlike(audience, told, await _held(http, audience)))
        calls = await _asked(http, "calls", limit=_CALLS, target="webhook")
    if reused := sum(call.get("note") == _REUSED for call in calls):
        result.wrong(f"{reused} calls of the webhook had the id of another one, and another body")
    result.notes.append(f"{len(audiences)} audiences compared with the stand-in's webhook, member by member")
    if len(urls) < len(hooked):
        result.notes.append(f"{len(hooked) - len(urls)} webhooks of audiences are elsewhere, and were not asked")


def _unlike(audience: str, told: Sequence[Row], held: Set[str]) -> Iterator[str]:
    """Who is acknowledged is there, and nobody of whom the ledger does not say that they may be there."""
    known = {profile_ref(row["profile_id"]): row["acknowledged"] for row in told}
    for member in sorted(held - known.keys()):
        yield f"audience {audience}: the webhook has {member}, and the ledger does not know it there"
    for member in sorted(name for name, acknowledged in known.items() if acknowledged and name not in held):
        yield f"audience {audience}: {member} is acknowledged, and the webhook does not have it"


async def _held(http: httpx.AsyncClient, audience: str) -> set[str]:
    return {member["profileId"] for member in await _asked(http, "webhook-members", audience=audience)}


async def _asked(http: httpx.AsyncClient, what: str, **asked: str | int) -> list[Row]:
    answer = await http.get(f"/_standin/{what}", params=asked)
    answer.raise_for_status()
    found: list[Row] = answer.json()
    return found
