"""Suppressions, consents and the ledger of deliveries -> I9: nobody is where they may not be, or held for no reason.

Judged is what is settled: a removal that is still to come, or waits for a destination, is none of the faults.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from cdp_runtime.secrets import fingerprint
from cdp_verify.findings import Finding
from cdp_verify.stores import Row, Stores
from cdp_verify.suppressions import Numbering, Said

_ASKED: Final = 2000  # rows of the ledger whose people are in memory at once
_WORKSPACE: Final = "(%(workspace)s::text IS NULL OR d.workspace_id = %(workspace)s)"
_ROW: Final = "d.workspace_id, d.destination_id, d.audience_id, d.profile_id, d.sent IS NOT NULL AS is_there"
_SETTLED: Final = f"d.desired AND NOT d.pending AND t.deleted_at IS NULL AND {_WORKSPACE}"
# which of the purposes that a destination asks for are not granted, of everybody who is there or is held for that
_CONSENTS: Final = f"""
SELECT {_ROW}, lacking.purposes
FROM activation.deliveries AS d
JOIN activation.destinations AS t USING (workspace_id, destination_id)
JOIN identity.profiles AS p ON p.workspace_id = d.workspace_id AND p.profile_id = d.profile_id
CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(purpose, ', '), '') AS purposes
    FROM jsonb_array_elements_text(CASE jsonb_typeof(t.settings -> 'consentPurposes')
                                   WHEN 'array' THEN t.settings -> 'consentPurposes' ELSE '[]' END) AS asked(purpose)
    WHERE NOT coalesce((p.consent ->> purpose)::boolean, t.settings ->> 'consentWhenUnknown' = 'allow', false)
) AS lacking
WHERE {_SETTLED}
  AND (d.sent IS NOT NULL AND lacking.purposes <> '' OR d.outcome = 'no_consent' AND lacking.purposes = '')
LIMIT 1000
"""  # noqa: S608 - a constant
# by what was noted of somebody when they were sent
_NOTED: Final = f"""
SELECT {_ROW} FROM activation.suppressions AS s
JOIN activation.deliveries AS d ON d.workspace_id = s.workspace_id AND d.keys @> ARRAY[s.value_key]
JOIN activation.destinations AS t ON t.workspace_id = d.workspace_id AND t.destination_id = d.destination_id
WHERE {_SETTLED} AND d.sent IS NOT NULL AND s.destination_id IN ('', d.destination_id)
LIMIT 1000
"""  # noqa: S608 - a constant
_LISTED: Final = """
SELECT workspace_id, destination_id, value_key FROM activation.suppressions
WHERE %(workspace)s::text IS NULL OR workspace_id = %(workspace)s
"""
_STANDING: Final = f"""
SELECT {_ROW} FROM activation.deliveries AS d
JOIN activation.destinations AS t USING (workspace_id, destination_id)
WHERE {_SETTLED} AND (d.outcome = 'suppressed' OR d.sent IS NOT NULL AND EXISTS (
    SELECT FROM activation.suppressions AS s WHERE s.workspace_id = d.workspace_id))
ORDER BY d.workspace_id
"""  # noqa: S608 - a constant
# an id that somebody had before a merge or a sign-in is that of one of their nodes
_SAID: Final = """
SELECT n.profile_id, said.kind, said.value FROM identity.nodes AS n
CROSS JOIN LATERAL (VALUES (n.kind, n.value), ('profile_id', n.node_id::text)) AS said(kind, value)
WHERE n.workspace_id = %(workspace)s AND n.kind <> ''
  AND (n.profile_id = ANY(%(profiles)s) AND n.profile_id <> n.node_id OR n.node_id = ANY(%(profiles)s))
UNION ALL
SELECT p.profile_id, said.kind, said.value FROM identity.profiles AS p
CROSS JOIN LATERAL (VALUES ('profile_id', p.profile_id::text), ('email', p.traits ->> 'email'),
                           ('phone', p.traits ->> 'phone')) AS said(kind, value)
WHERE p.workspace_id = %(workspace)s AND p.profile_id = ANY(%(profiles)s) AND said.value IS NOT NULL
"""
_FINGERPRINT: Final = "SELECT fingerprint FROM activation.key_fingerprint"
Listed = Mapping[tuple[str, int], set[str]]  # workspace and number -> where: destinations, or '' for all of them


async def check_gates(stores: Stores, result: Finding) -> None:
    """Adds to ``result`` who is there against a consent or a suppression, and who is held for one that is not."""
    asked = {"workspace": stores.scope.workspace_id}
    for row in await stores.postgres.rows(_CONSENTS, asked):
        if row["purposes"]:
            result.wrong(f"{name_of(row)} has not agreed to {row['purposes']}, and is there or may be")
        else:
            result.wrong(f"{name_of(row)} is held for a consent, and has agreed to all that is asked for")
    noted = await stores.postgres.rows(_NOTED, asked)
    result.all_wrong(f"{one} is suppressed, and is there or may be" for one in dict.fromkeys(map(name_of, noted)))
    listed = await _listed(stores)
    if await _is_the_key(stores):
        async for sentence in _against_the_list(stores, listed, {name_of(row) for row in noted}):
            result.wrong(sentence)
    elif listed:
        why = "CDP_SECRET_KEY is not the installation's"
        result.notes.append(f"{why}: suppressions are compared with what was noted of who was sent, and with no more")


def name_of(row: Row) -> str:
    """A delivery, for people."""
    return f"{row['workspace_id']}: {row['profile_id']} in {row['audience_id']} at {row['destination_id']}"


async def _listed(stores: Stores) -> Listed:
    listed: dict[tuple[str, int], set[str]] = {}
    for row in await stores.postgres.rows(_LISTED, {"workspace": stores.scope.workspace_id}):
        listed.setdefault((row["workspace_id"], row["value_key"]), set()).add(row["destination_id"])
    return listed


async def _is_the_key(stores: Stores) -> bool:
    """Under another key the list would match nobody."""
    kept = await stores.postgres.rows(_FINGERPRINT)
    return bool(kept and stores.secret_key) and bytes(kept[0]["fingerprint"]) == fingerprint(stores.secret_key)


async def _against_the_list(stores: Stores, listed: Listed, told: set[str]) -> AsyncIterator[str]:
    """By all that is known of somebody now. ``told`` are those of whom it is known already."""
    numbering = Numbering(stores.secret_key)
    async for rows in _standing(stores):
        people = await _people(stores, rows[0]["workspace_id"], {row["profile_id"] for row in rows})
        for row in rows:
            numbers = numbering.of(people.get(row["profile_id"], ()))
            where = set[str]().union(*(listed.get((row["workspace_id"], number), ()) for number in numbers.known))
            is_suppressed = not where.isdisjoint(("", row["destination_id"]))
            if row["is_there"] and is_suppressed and name_of(row) not in told:
                yield f"{name_of(row)} is suppressed, and is there or may be"
            elif not row["is_there"] and not is_suppressed and numbers.is_whole:
                yield f"{name_of(row)} is held as suppressed, and nothing on the list names them"


async def _standing(stores: Stores) -> AsyncIterator[list[Row]]:
    """Who is there, and who is held as suppressed: some of one workspace at a time."""
    part: list[Row] = []
    async for row in stores.postgres.stream(_STANDING, {"workspace": stores.scope.workspace_id}):
        if part and (len(part) == _ASKED or part[0]["workspace_id"] != row["workspace_id"]):
            yield part
            part = []
        part.append(row)
    if part:
        yield part


async def _people(stores: Stores, workspace: str, profiles: set[UUID]) -> Mapping[UUID, Sequence[Said]]:
    said: dict[UUID, list[Said]] = {}
    for row in await stores.postgres.rows(_SAID, {"workspace": workspace, "profiles": sorted(profiles)}):
        said.setdefault(row["profile_id"], []).append((row["kind"], row["value"]))
    return said
