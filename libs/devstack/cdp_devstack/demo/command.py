"""``cdp demo``: streams the shop, prints one merged profile, two segments and the delivery, then goes on gently."""

import os
import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cdp_devstack.demo.front_door import ABANDONED_CART, HIGH_VALUE, FrontDoor
from cdp_devstack.demo.sender import Sender
from cdp_devstack.demo.shop import ADA, Visitor, steps, visitors
from cdp_devstack.errors import StackError
from cdp_devstack.parts import without_proxy

console = Console(soft_wrap=True)


def demo(
    count: Annotated[int, typer.Option(help="visitors of the first wave")] = 60,
    once: Annotated[bool, typer.Option("--once", help="stop after the result instead of sending on")] = False,
) -> None:
    """Sends a small shop's events through the Segment Python SDK and shows what became of them."""
    os.environ.update(without_proxy())
    gateway = f"http://127.0.0.1:{os.environ.get('CDP_INGEST_PORT', '8000')}"
    api = f"http://127.0.0.1:{os.environ.get('CDP_API_PORT', '8001')}/api/cdp"
    door = FrontDoor(api, "demo-api-token")
    sender = Sender(gateway, "demo-write-key")
    try:
        segments, audience = _prepare(door)
        before = _size(door, segments[0]), _acknowledged(_status(door, audience))
        seed = int(time.time())
        crowd = [ADA, *visitors(seed, count)]
        sent = _send(sender, crowd)
        console.print(f"Sent {sent} events of {len(crowd)} visitors with the Segment Python SDK to {gateway}.")
        _show(door, api, segments, audience, crowd, before)
        if not once:
            console.print("Traffic goes on gently; Ctrl-C stops everything.\n")
            _go_on(sender, seed)
    except StackError as fault:
        Console(stderr=True, soft_wrap=True).print(str(fault), markup=False, style="bold red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        pass
    finally:
        sender.close()


def _prepare(door: FrontDoor) -> tuple[list[Any], Any]:
    """The two segments and the audience, created on the first run and found again on later ones."""
    segments = [door.ensure("/segments", body) for body in (HIGH_VALUE, ABANDONED_CART)]
    body = {
        "name": "High value shoppers",
        "description": "The demo's audience, kept in step at the stand-in for Facebook",
        "segmentIds": [segments[0]["id"]],
        "platforms": ["facebook"],
        "config": {"facebook": {"customAudienceId": "120000000000001", "adAccountId": "act_1"}},
    }
    audience = door.ensure("/audiences", body)
    door.post(f"/audiences/{audience['id']}/activate", {"platform": "facebook", "operation": "add"})
    return segments, audience


def _send(sender: Sender, crowd: Sequence[Visitor]) -> int:
    """Visits that end about now, so that the windows of the rules see them."""
    now = datetime.now(UTC)
    visits = [(visitor, steps(visitor, now)) for visitor in crowd]
    sent = 0
    for _, visit in visits:
        ended = visit[-1].at - now
        sent += sender.send([_earlier(step, ended) for step in visit])
    sender.flush()
    return sent


def _earlier(step: Any, by: timedelta) -> Any:
    return type(step)(step.call, step.anonymous_id, step.at - by, step.user_id, step.event, step.body)


def _show(
    door: FrontDoor,
    api: str,
    segments: Sequence[Any],
    audience: Any,
    crowd: Sequence[Visitor],
    before: tuple[int, int],
) -> None:
    """``before``: members and delivered members of the first segment, from earlier runs."""
    ltv = ADA.ltv_cents / 100
    profile = door.until(
        f"Ada's lifetime value of at least {ltv}",
        lambda: door.find_profile(f"user_id:{ADA.user_id}"),
        lambda found: (
            found is not None
            and float(found["computed"]["ltv"]) >= ltv  # more after an order that the README has its reader send
            and set(ADA.devices) <= set(found["externalIds"]["anonymousIds"])
        ),
    )
    # all of the crowd but Ada are other people in each run
    buyers = [visitor for visitor in crowd if visitor.ltv_cents > 20_000]
    members, delivered = (max(len(buyers), known + len(buyers) - (ADA in buyers)) for known in before)
    sizes = [
        door.until(
            f"the segment {segment['name']!r}",
            lambda segment=segment: _size(door, segment),  # type: ignore[misc]
            lambda size, least=least: size >= least,  # type: ignore[misc]
        )
        for segment, least in zip(segments, (members, 1), strict=True)
    ]
    status = door.until(
        "the delivery of the audience",
        lambda: _status(door, audience),
        lambda found: _acknowledged(found) >= delivered,
    )
    _print_profile(door.get(f"/profiles/{profile['id']}"), {segment["id"]: segment["name"] for segment in segments})
    _print_results(segments, sizes, _acknowledged(status))
    _print_urls(api, profile, segments, audience)


def _size(door: FrontDoor, segment: Any) -> int:
    return int(door.get(f"/segments/{segment['id']}/size")["size"])


def _status(door: FrontDoor, audience: Any) -> Any:
    return door.get(f"/audiences/{audience['id']}/status")


def _acknowledged(status: Any) -> int:
    return sum(destination["acknowledged"] for destination in status["destinations"])


def _print_profile(profile: Any, names: Mapping[str, str]) -> None:
    table = Table(title=f"One profile from two devices: {profile['id']}", title_justify="left", show_header=False)
    table.add_row("identifiers", ", ".join(f"{kind}={value}" for kind, value in profile["externalIds"].items()))
    attributes = {k: v for k, v in profile["attributes"].items() if v and k not in {"customFields", "tags"}}
    table.add_row("attributes", ", ".join(f"{name}={value}" for name, value in attributes.items()))
    computed = profile["computed"]
    table.add_row("lifetime value", f"{computed['ltv']} {computed['currency']} in {computed['purchaseCount']} orders")
    table.add_row("segments", ", ".join(names.get(ref, ref) for ref in profile["segments"]) or "none")
    console.print(table)


def _print_results(segments: Sequence[Any], sizes: Sequence[int], delivered: int) -> None:
    for segment, size in zip(segments, sizes, strict=True):
        console.print(f"Segment [bold]{segment['name']}[/]: {size} members ({segment['description'].lower()})")
    console.print(f"Audience [bold]High value shoppers[/]: {delivered} members delivered to the stand-in for Facebook")


def _print_urls(api: str, profile: Any, segments: Sequence[Any], audience: Any) -> None:
    stand_in = f"http://127.0.0.1:{os.environ.get('CDP_STANDIN_PORT', '8002')}/"
    console.print("\nLook further (with -H 'Authorization: Bearer demo-api-token'):")
    for path in (
        f"/profiles/{profile['id']}/timeline",
        f"/segments/{segments[0]['id']}/members",
        f"/audiences/{audience['id']}/deliveries",
        "/analytics/overview",
    ):
        console.print(f"  {api}{path}")
    console.print(f"What the platform holds: {stand_in}\n")


def _go_on(sender: Sender, seed: int) -> None:
    """A visitor every few seconds, until the process is stopped."""
    wave = seed
    while True:
        wave += 1
        for visitor in visitors(wave, 1):
            visit = steps(visitor, datetime.now(UTC))
            late = visit[-1].at - datetime.now(UTC)
            for step in visit:
                sender.send([_earlier(step, late)])
                time.sleep(random.uniform(0.1, 0.6))
