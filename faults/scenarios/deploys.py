"""Two releases at work at once: the stores made by the older one, migrated under it, then processes of both in turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.releases import NoRelease, named, previous, tree_of
from faults.scenarios.destinations import SPENT, made
from faults.scenarios.tenants import delivering
from faults.stack import ALL, PLATFORMS, Stack
from faults.trial import NotHere, Trial, fault

_THERE_AND_BACK = ("resolver", "recorder", "segmenter")


@contextmanager
def older_stack() -> Iterator[Stack]:
    """A stack that the previous release made and runs."""
    revision = previous()
    try:
        with tree_of(revision) as tree:
            stack = Stack(release=tree)
            try:
                yield stack
            finally:
                stack.close()
    except NoRelease as missing:
        raise NotHere(f"{revision}: {missing}") from missing


@fault("F4", "a rolling deploy: the previous release and this one at work at once", *ALL, PLATFORMS, on=older_stack)
def mixed_releases(trial: Trial) -> None:
    stack, trial.whole = trial.stack, True
    older = stack.release
    trial.notes.append(f"mixed with {named(previous())}")
    made(stack.api("POST", "/segments", json={"name": "made by the older one", "rules": SPENT}))
    with delivering(trial), trial.load(odd_amounts=False):  # earlier releases read those otherwise
        trial.proof.grows(100, 90)
        stack.step("migrate")  # under the older processes, as a deploy does it
        trial.proof.grows(100, 90)
        for name in trial.chance.sample(ALL, len(ALL)):
            # forward; some of them back again, as after a bad deploy
            for release in (None, older, None) if name in _THERE_AND_BACK else (None,):
                _replace(trial, name, release)
        for name in ("resolver~2", "recorder~2"):  # both releases in one consumer group
            stack.code[name] = older
        stack.need("resolver~2", "recorder~2")
        trial.proof.grows(200, 120)
        for name in ("resolver~2", "recorder~2"):
            stack.end(name)
    made(stack.api("POST", "/segments", json={"name": "made by the newer one", "rules": SPENT}))


def _replace(trial: Trial, name: str, release: Path | None) -> None:
    """Asked to end, or killed, as a deploy in a hurry does it; the next one has other code."""
    trial.stack.code[name] = release
    if trial.chance.random() < 0.5:
        trial.kill(name)
        trial.stack.need(name)
    else:
        trial.stack.restart(name)
    trial.proof.grows(20, 90)
