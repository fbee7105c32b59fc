"""Replacements at destinations that ask for pauses: they get on, and nobody's privacy waits for them."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cdp_activation import replacement
from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.destinations.facebook_custom_audiences import FacebookCustomAudiences
from cdp_activation.profile import Profile, profile_of
from cdp_schemas.profiles import profile_ref

from .conftest import FACEBOOK_AUDIENCE, World, until

pytestmark = pytest.mark.postgres
PAUSE = 0.1


class Slow:
    """A receiver that, once it is ``slow``, asks for a pause after each call; what it took, and who is there.

    It takes none while it has ``enough`` pages, and nothing twice: it keeps the ids of webhooks.
    """

    def __init__(self) -> None:
        self.slow, self.enough = False, 1000
        self.taken: list[tuple[str, list[str]]] = []
        self._tired = False
        self._there: dict[str, set[str]] = {}
        self._staged: dict[Any, set[str]] = {}
        self._seen: set[str] = set()

    async def send(self, request: HttpRequest) -> HttpResponse:
        if self.slow and (self._tired or len(self.pages()) >= self.enough):
            self._tired = False
            return HttpResponse(429, {"retry-after": str(PAUSE)}, json.dumps(self._refusal()).encode())
        self._tired = True
        message = request.headers.get("webhook-id", str(len(self.taken)))
        if message not in self._seen:
            self._seen.add(message)
            self._take(request, json.loads(request.body))
        return HttpResponse(200, {}, json.dumps({"num_received": 1, "num_invalid_entries": 0}).encode())

    def there(self, audience: str) -> set[str]:
        return self._there.get(audience, set())

    def sessions(self) -> int:
        return len(self._staged)

    def pages(self) -> list[list[str]]:
        return [members for action, members in self.taken if action == "replace"]

    def _refusal(self) -> Any:
        return {"error": {"code": 80003, "message": "too many calls"}}

    def _take(self, request: HttpRequest, body: Any) -> None:
        if "payload" in body:
            audience, edge = request.url.split("/")[-2:]
            action = {"DELETE": "remove"}.get(request.method, "replace" if edge == "usersreplace" else "add")
            members = [row[0] for row in body["payload"]["data"]]
            session = body.get("session", {})
            last, opened = session.get("last_batch_flag"), session.get("session_id")
        else:
            data = body["data"]
            audience, action = data["audienceId"], data["action"]
            members = [member["profileId"] for member in data["members"]]
            last, opened = data.get("last"), data.get("session")
        self.taken.append((action, members))
        here = self._there.setdefault(audience, set())
        match action:
            case "add":
                here.update(members)
            case "remove":
                here.difference_update(members)
            case _:
                self._staged.setdefault(opened, set()).update(members)
        if last:
            self._there[audience] = self._staged[opened]


def ref(person: Profile) -> str:
    return profile_ref(person.profile_id)


async def replacing(world: World, audience: str) -> None:
    await world.execute(
        "UPDATE activation.connections SET replace_session = 1 WHERE workspace_id = %s AND audience_id = %s",
        [world.workspace, audience],
    )


async def connection(world: World, audience: str) -> dict[str, Any]:
    (row,) = await world.rows("SELECT * FROM activation.connections WHERE audience_id = %s", [audience])
    return row


async def replaced(world: World, audience: str) -> bool:
    row = await connection(world, audience)
    return row["replace_session"] is None and row["replaced_at"] is not None


def granting(world: World, count: int) -> list[Profile]:
    """In the order in which a replacement sends them."""
    return [world.person(f"p{n}", consent={"tracking": True}) for n in range(count)]


async def withdraw(world: World, person: Profile) -> None:
    name = person.profile_id.bytes.rstrip(b"\0").decode()
    await world.update(world.person(name, version=2, consent={"tracking": False}))


@pytest.mark.parametrize("type_name", ["webhook", "facebook_custom_audiences"])
async def test_a_replacement_gets_on_with_one_page_between_two_pauses(world: World, type_name: str) -> None:
    audience, slow = await world.audience(await world.destination(type_name, batchSize=1)), Slow()
    crowd = granting(world, 5)
    async with world.working(slow):
        await world.enter(*crowd)
        await world.settled()
        slow.slow = True
        await replacing(world, audience)
        await until(lambda: replaced(world, audience))
    assert slow.pages() == [[ref(person)] for person in crowd] and slow.sessions() == 1
    rows = (await world.deliveries()).values()
    assert all(row["acknowledged"] and not row["pending"] and row["attempts"] == 0 for row in rows)


async def test_privacy_does_not_wait_for_the_end_of_a_replacement(world: World) -> None:
    destination = await world.destination("webhook", batchSize=1, consentPurposes=["tracking"])
    audience, slow = await world.audience(destination), Slow()
    other = await world.audience(destination, segment="segment-b")
    crowd = granting(world, 8)
    first, last = crowd[0], crowd[-1]
    async with world.working(slow):
        await world.enter(first, segment="segment-b")
        await _after_two_pages(world, audience, crowd, slow)
        # one of them is among the new members already, the other would be the last of them
        await withdraw(world, first)
        await withdraw(world, last)
        slow.enough = 1000
        await until(lambda: replaced(world, audience))
        pages = slow.pages()
        before_the_end = slow.taken[: slow.taken.index(("replace", pages[-1]))]
        told = [member for action, (member,) in before_the_end if action == "remove"]
        assert sorted(told) == sorted([ref(first), ref(first), ref(last)]) and slow.there(other) == set()
        assert pages == [[ref(person)] for person in crowd[:7]] and slow.sessions() == 1
        # the session brought the first one back; the round after it takes them off
        await until(lambda: _same(slow, audience, crowd[1:7]))
        await until(lambda: _held(world, 3))


async def _same(slow: Slow, audience: str, crowd: list[Profile]) -> bool:
    return slow.there(audience) == {ref(person) for person in crowd}


async def _held(world: World, count: int) -> bool:
    """So many members of audiences are known not to be there for want of consent, and nothing is left to do."""
    rows = await world.rows("SELECT * FROM activation.deliveries WHERE workspace_id = %s", [world.workspace])
    held = [row for row in rows if row["outcome"] == "no_consent" and row["sent"] is None]
    return len(held) == count and not any(row["pending"] for row in rows)


async def _pages(slow: Slow, count: int) -> bool:
    return len(slow.pages()) >= count


async def _after_two_pages(world: World, audience: str, crowd: list[Profile], slow: Slow) -> None:
    """They are all there; a replacement of them begins, and is held up after its second page."""
    await world.enter(*crowd)
    await world.settled()
    slow.slow, slow.enough = True, 2
    await replacing(world, audience)
    await until(lambda: _pages(slow, 2))


@pytest.mark.parametrize("wanted", [True, False])
async def test_pages_that_nothing_holds_up_are_looked_at_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setattr(replacement, "_LOOK_SECONDS", 0.05)
    destination = await world.destination("webhook", batchSize=1, consentPurposes=["tracking"], requestsPerSecond=20)
    audience, quick = await world.audience(destination), Slow()
    crowd = granting(world, 40)
    async with world.working(quick) as deliverer:
        await world.enter(*crowd)
        await world.settled()
        await replacing(world, audience)
        await until(lambda: _pages(quick, 2))
        if wanted:
            await withdraw(world, crowd[0])
            await until(lambda: replaced(world, audience))
            assert quick.taken.index(("remove", [ref(crowd[0])])) < quick.taken.index(("replace", [ref(crowd[39])]))
            assert len(quick.pages()) == 40 and quick.sessions() == 1
        else:
            await world.execute("UPDATE activation.connections SET active = false WHERE audience_id = %s", [audience])
            await until(lambda: _idle(deliverer))
            assert len(quick.pages()) < 40


async def test_where_a_replacement_is_alone_removals_follow_it(world: World) -> None:
    destination = await world.destination(batchSize=1, consentPurposes=["tracking"])
    audience, slow = await world.audience(destination), Slow()
    crowd = granting(world, 4)
    async with world.working(slow):
        await _after_two_pages(world, audience, crowd, slow)
        await withdraw(world, crowd[0])
        await withdraw(world, crowd[3])
        slow.enough = 1000
        await world.settled()
    assert slow.taken[4:] == [*(("replace", [ref(one)]) for one in crowd[:3]), ("remove", [ref(crowd[0])])]
    assert slow.there(FACEBOOK_AUDIENCE) == {ref(crowd[1]), ref(crowd[2])}


async def test_nobody_is_left_for_the_last_page(world: World) -> None:
    destination = await world.destination("webhook", batchSize=1, consentPurposes=["tracking"])
    audience, slow = await world.audience(destination), Slow()
    crowd = granting(world, 3)
    async with world.working(slow):
        await _after_two_pages(world, audience, crowd, slow)
        await withdraw(world, crowd[2])
        slow.enough = 1000
        await until(lambda: replaced(world, audience))
    assert slow.sessions() == 2 and slow.there(audience) == {ref(crowd[0]), ref(crowd[1])}


async def test_who_fell_behind_in_a_pause_comes_after_the_replacement(world: World) -> None:
    audience, slow = await world.audience(await world.destination("webhook", batchSize=1)), Slow()
    crowd = granting(world, 4)
    late = crowd[2]
    async with world.working(slow):
        await world.enter(*crowd)
        await world.settled()
        slow.slow, slow.enough = True, 2
        await replacing(world, audience)
        await until(lambda: _sending(world, late))
        # what the column store shows of them must not be sent any more, and what is newer it does not show yet
        newer = profile_of(late.profile_id, 2, {"email": ["new@example.com"]}, {}, {"tracking": True})
        await world.update(newer)
        slow.enough = 1000
        await until(lambda: replaced(world, audience))
        assert slow.there(audience) == {ref(person) for person in crowd if person is not late}
        world.profiles.put(world.workspace, newer)
        await until(lambda: _same(slow, audience, crowd))


async def _sending(world: World, person: Profile) -> bool:
    return (await world.deliveries())[person.profile_id]["outcome"] == "sending"


async def test_a_replacement_that_cannot_end_in_time_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(FacebookCustomAudiences.entry, replace_window=timedelta(seconds=PAUSE * 2))
    monkeypatch.setattr(FacebookCustomAudiences, "entry", short)
    audience, slow = await world.audience(await world.destination(batchSize=1)), Slow()
    async with world.working(slow):
        await world.enter(*granting(world, 5))
        await world.settled()
        slow.slow = True
        await replacing(world, audience)
        await until(lambda: _given_up(world, audience))
    assert slow.sessions() == 1


async def _given_up(world: World, audience: str) -> bool:
    row = await connection(world, audience)
    return row["replace_session"] is None and "pages were taken within" in (row["replace_error"] or "")


async def test_a_replacement_that_is_not_wanted_any_more_ends_in_its_pause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replacement, "_LOOK_SECONDS", 0.05)
    audience, slow = await world.audience(await world.destination("webhook", batchSize=1)), Slow()
    crowd = granting(world, 3)
    async with world.working(slow) as deliverer:
        await world.enter(*crowd)
        await world.settled()
        slow.slow = True
        await replacing(world, audience)
        await until(lambda: _pages(slow, 1))
        await world.execute(
            "UPDATE activation.connections SET replace_session = NULL, active = false, reconcile = true "
            "WHERE audience_id = %s",
            [audience],
        )
        await until(lambda: _idle(deliverer))
        await world.upkeep().reconcile(flagged=True)
        await world.settled()
    assert slow.pages() == [[ref(crowd[0])]] and slow.there(audience) == set()


async def _idle(deliverer: Any) -> bool:
    return not deliverer._tasks


class Refusing(Slow):
    """Takes no page at all, or the pages and not one of their members."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__()
        self.asked, self._answer = 0, answer

    async def send(self, request: HttpRequest) -> HttpResponse:
        if b'"replace"' not in request.body:
            return await super().send(request)
        self.asked += 1
        if self._answer.status == 200:
            self._take(request, json.loads(request.body))
        return self._answer


async def test_a_page_that_is_refused_ends_the_replacement_with_the_reason(world: World) -> None:
    audience, refusing = await world.audience(await world.destination("webhook")), Refusing(HttpResponse(400, {}, b""))
    async with world.working(refusing):
        await world.enter(*granting(world, 5))
        await world.settled()
        await replacing(world, audience)
        await until(lambda: _ended(world, audience), 4.0)
    assert "HTTP 400" in (await connection(world, audience))["replace_error"] and refusing.asked == 1


async def _ended(world: World, audience: str) -> bool:
    return (await connection(world, audience))["replace_session"] is None


async def test_a_page_whose_only_member_is_refused_is_a_page_like_any_other(world: World) -> None:
    crowd = granting(world, 3)
    said = json.dumps({"rejected": [{"profileId": ref(crowd[2]), "reason": "unknown"}]}).encode()
    audience = await world.audience(await world.destination("webhook", batchSize=1))
    refusing = Refusing(HttpResponse(200, {}, said))
    async with world.working(refusing):
        await world.enter(*crowd)
        await world.settled()
        await replacing(world, audience)
        await until(lambda: _ended(world, audience), 4.0)
    assert await replaced(world, audience) and (await connection(world, audience))["replace_error"] is None
    assert (await world.deliveries())[crowd[2].profile_id]["outcome"] == "rejected"
