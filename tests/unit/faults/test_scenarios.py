"""What the scenarios judge by themselves: logs that tell, rules that are contradicted, redirects that are followed."""

from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from faults import trial, troubles
from faults.ear import Ear
from faults.proxy import Trouble
from faults.releases import NoRelease, previous, tree_of
from faults.scenarios import crashes, destinations, stores
from faults.scenarios.crashes import rebalances
from faults.scenarios.destinations import slow_platform, too_early
from faults.scenarios.erasure import held
from faults.scenarios.rules import contradictions
from faults.scenarios.stores import is_insert_of_events
from faults.stack import NotInTime
from faults.tenants import NEIGHBOUR, told
from faults.trial import Trial
from faults.troubles import Single, met
from faults.volumes import CannotMount, Volume

from cdp_schemas.profiles import profile_ref
from cdp_schemas.segments import Change, MembershipChanged

ADA, BOB = UUID(int=1), UUID(int=2)
PLANS = {profile_ref(ADA): "gold", profile_ref(BOB): "silver"}
VERSIONS = {1: "gold", 2: "silver"}


def moved(who: UUID, change: Change, version: int, sequence: int) -> MembershipChanged:
    return MembershipChanged("demo", "segment-1", version, who, change, sequence, datetime.now(UTC), "definition")


def test_what_each_version_says_contradicts_nothing() -> None:
    right = [moved(ADA, "entered", 1, 1), moved(ADA, "exited", 2, 2), moved(BOB, "entered", 2, 1)]
    assert contradictions([*right, right[0]], VERSIONS, PLANS) == []


@pytest.mark.parametrize(
    "wrong",
    [
        [moved(BOB, "entered", 1, 1)],  # of the next version's people
        [moved(ADA, "entered", 1, 1), moved(ADA, "exited", 1, 2)],
        [moved(ADA, "exited", 2, 2), moved(ADA, "exited", 2, 4)],  # two differences of one version
    ],
)
def test_mixed_versions_and_two_differences_are_seen(wrong: list[MembershipChanged]) -> None:
    assert contradictions(wrong, VERSIONS, PLANS) != []


def test_a_log_that_tells_a_secret_or_a_person_is_named(tmp_path: Path) -> None:
    texts = {
        "clean.log": "all is well",
        "key.log": f"\nkey {NEIGHBOUR.write_key}",
        "person.log": "f2x1x1-1.demo.canary-user-7",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert [sentence.partition(" tells ")[0] for sentence in told(tmp_path.iterdir(), ["whsec_x"])] == [
        "line 2 of key.log",
        "line 1 of person.log",
    ]


def test_an_ear_hears_what_is_said_and_answers_as_told() -> None:
    with closing(Ear()) as inside, closing(Ear(307, f"http://{inside.address}/")) as door:
        url = f"http://{door.address}/hook"
        assert httpx.post(url, content=b"{}").status_code == 307
        assert (inside.connections, door.heard) == (0, [("/hook", b"{}")])
        assert httpx.post(url, content=b"{}", follow_redirects=True).status_code == 200
        assert (inside.connections, door.connections) == (1, 2)


def test_an_insert_of_events_is_told_from_others() -> None:
    token = b"&insert_deduplication_token=x"
    assert is_insert_of_events(b"POST /?query=INSERT+INTO+%60events%60+%28a%29" + token)
    assert is_insert_of_events(b"POST /?query=INSERT%20INTO%20events%20(a)" + token)
    assert not is_insert_of_events(b"POST /?query=INSERT+INTO+%60event_outcomes%60+%28a%29" + token)
    assert not is_insert_of_events(b"POST /?query=INSERT+INTO+%60events%60+%28a%29")


def test_a_volume_is_filled_and_freed(tmp_path: Path) -> None:
    try:
        volume = Volume(tmp_path / "small", 1024 * 1024)
    except CannotMount as missing:
        pytest.skip(str(missing))
    with closing(volume):
        assert volume.free == 1024 * 1024
        volume.fill()
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "small" / "more").write_bytes(b"x" * 10_000)
        volume.free_all()
        assert volume.free > 0
    assert list((tmp_path / "small").iterdir()) == []


def test_an_older_tree_is_another_folder_with_the_same_packages() -> None:
    try:
        with tree_of(previous()) as tree:
            assert (tree / "libs" / "runtime" / "cdp_runtime" / "cli.py").exists()
            assert (tree / "services" / "ingest").is_dir()
        assert not tree.exists()
    except NoRelease as missing:
        pytest.skip(str(missing))


def test_a_revision_that_is_not_there_is_told() -> None:
    with pytest.raises(NoRelease), tree_of("no-such-revision"):
        pass


def test_whom_a_destination_has_is_what_it_was_told() -> None:
    def call(action: str, *who: str) -> tuple[str, bytes]:
        members = ",".join(f'{{"profileId":"{one}"}}' for one in who)
        return "/", f'{{"data":{{"action":"{action}","members":[{members}]}}}}'.encode()

    assert held([call("add", "a", "b"), call("remove", "a")]) == {"b"}
    assert held([call("add", "a"), call("remove", "a"), call("add", "a")]) == {"a"}


def test_a_call_within_a_pause_that_was_asked_for_is_counted() -> None:
    calls = [{"at": at, "status": status} for at, status in ((10.0, 400), (12.9, 200), (13.1, 200), (20.0, 200))]
    assert too_early(calls, 3) == 1
    assert too_early(calls[2:], 3) == 0


class Standin:
    """A platform behind a proxy, whose troubles meet somebody or not."""

    def __init__(self, *, is_cut_felt: bool, is_hole_felt: bool) -> None:
        self._is_cut_felt, self._is_hole_felt = is_cut_felt, is_hole_felt
        self._trouble = Trouble()

    @property
    def trouble(self) -> Trouble:
        return self._trouble

    @trouble.setter
    def trouble(self, made: Trouble) -> None:
        made.struck = int(self._is_hole_felt)
        self._trouble = made

    def cut(self, _: object) -> Trouble:
        return Trouble(refuses=True, struck=int(self._is_cut_felt))


@pytest.mark.parametrize(
    ("felt", "unfelt"),
    [((True, True), ""), ((False, True), "the platform is cut off"), ((True, False), "the platform answers nothing")],
)
def test_a_platform_that_nobody_called_while_it_was_away_was_not_away(
    felt: tuple[bool, bool], unfelt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("make_audience", "compare", "_struck"):
        monkeypatch.setattr(destinations, name, lambda *_, **__: None)
    monkeypatch.setattr(destinations.time, "sleep", lambda _: None)
    monkeypatch.setattr(trial, "FELT_SECONDS", 0.0)
    standin = Standin(is_cut_felt=felt[0], is_hole_felt=felt[1])
    proxies: Any = SimpleNamespace(cut=standin.cut, heal=lambda _: None)
    stack: Any = SimpleNamespace(standin=standin, proxies=proxies)
    played = Trial(stack, proof=SimpleNamespace(grows=lambda _: None), chance=Random(1))  # type: ignore[arg-type]
    monkeypatch.setattr(Trial, "load", lambda *_, **__: nullcontext())
    with pytest.raises(NotInTime, match=unfelt) if unfelt else nullcontext():
        slow_platform(played)


def single(*struck: int) -> Single:
    """A trouble that meets so many, each time that it is made."""
    times = iter(struck)
    return Single("the broker is far", lambda: Trouble(struck=next(times)))


def recovering(recovered: list[str]) -> Trial:
    stack: Any = SimpleNamespace(recover=recovered.extend)
    return Trial(stack, proof=None, chance=Random(1))  # type: ignore[arg-type]


def test_a_trouble_that_met_nobody_among_others_is_made_once_more_alone() -> None:
    never_made, struck, missed, recovered = single(), single(1), single(0, 1), list[str]()
    for one in (struck, missed):
        one()
    assert met(recovering(recovered), [never_made, struck, missed], ["all"]) == 1
    assert [len(one.made) for one in (never_made, struck, missed)] == [0, 1, 2]
    assert recovered == ["all"]


def test_a_trouble_that_meets_nobody_even_alone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troubles, "FELT_SECONDS", 0.0)
    missed = single(0, 0)
    missed()
    with pytest.raises(NotInTime, match="somebody feels that the broker is far"):
        met(recovering([]), [missed], ["all"])


def test_who_comes_only_when_asked_is_asked() -> None:
    made: list[Trouble] = []

    def strike() -> None:
        made[-1].struck += len(made) > 1  # the first time nobody was there to be asked

    def begins() -> Trouble:
        made.append(Trouble())
        return made[-1]

    one = Single("Redis is cut off", begins, strike)
    one()
    assert not one.has_struck
    assert met(recovering([]), [one], ["all"]) == 1


def test_a_view_that_no_insert_met_has_thrown_at_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "FELT_SECONDS", 0.0)
    monkeypatch.setattr(stores.time, "sleep", lambda _: None)
    for is_met in (True, False):
        said: list[str] = []
        stack: Any = SimpleNamespace(said=lambda *_, is_met=is_met: is_met)
        played = Trial(stack, proof=SimpleNamespace(command=said.append), chance=Random(1))  # type: ignore[arg-type]
        with nullcontext() if is_met else pytest.raises(NotInTime, match="an insert meets the view"):
            stores._throwing_view(played)
        assert said[-1] == "DROP TABLE faults_throwing"


@pytest.mark.parametrize("work", [1.0, 0.0])
def test_consumers_that_were_never_given_work_took_nothing_from_anybody(
    work: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashes.time, "sleep", lambda _: None)
    monkeypatch.setattr(crashes, "_stored", lambda _: next(counts))
    monkeypatch.setattr(Trial, "load", lambda *_, **__: nullcontext())
    counts = iter((0, 100))
    accepted: Any = type("Accepted", (), {"accepted": property(lambda _: next(sent))})()
    sent = iter((0, 100))
    stack: Any = SimpleNamespace(
        start=lambda _: None, signal=lambda *_: None, dies=lambda *_: True, metric=lambda *_: work
    )
    played = Trial(stack, proof=accepted, chance=Random(1))
    rebalances(played)
    assert len(played.broken) == (0 if work else 1)
    assert not work or "a second one had work 12 times" in played.notes[0]


@pytest.mark.parametrize(
    ("there", "acknowledged", "broken"),
    [
        ({"a", "b"}, {"a", "b"}, []),
        ({"a", "c"}, {"a", "b"}, ["I9: the platform has 2 people, 2 are acknowledged; 2 differ"]),
        ({"a", "b", "c"}, {"a", "b", "c"}, ["I9: 1 acknowledged people are no members"]),
        (set(), set(), ["I9: the platform has 0 people, 0 are acknowledged; 0 differ"]),
    ],
)
def test_the_platform_has_just_those_who_are_acknowledged(
    there: set[str], acknowledged: set[str], broken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(_: object) -> list[MembershipChanged]:
        return []

    monkeypatch.setattr(destinations, "_segment", lambda *_: "anew")
    monkeypatch.setattr(destinations, "_eventually", lambda condition: condition())
    monkeypatch.setattr(destinations, "memberships_told", told)
    audience: Any = SimpleNamespace(
        prefix="p", segment="s", members=lambda _="": {"a", "b"}, there=lambda: there, acknowledged=lambda: acknowledged
    )
    proof: Any = SimpleNamespace(verdict=lambda: None)
    compared = Trial(SimpleNamespace(recover=lambda _: None), proof=proof, chance=Random(1))  # type: ignore[arg-type]
    destinations.compare(compared, audience)
    assert compared.broken == broken
