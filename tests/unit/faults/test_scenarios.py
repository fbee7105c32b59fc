"""What the scenarios judge by themselves: logs that tell, rules that are contradicted, redirects that are followed."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from faults.ear import Ear
from faults.releases import NoRelease, previous, tree_of
from faults.scenarios.destinations import too_early
from faults.scenarios.erasure import held
from faults.scenarios.rules import contradictions
from faults.scenarios.stores import is_insert_of_events
from faults.tenants import NEIGHBOUR, told
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
