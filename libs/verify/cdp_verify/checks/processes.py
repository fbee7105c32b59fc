"""Admin ports of processes -> I13, I14, I16: ready at rest, nothing waiting, memory within its bound."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final

import httpx

from cdp_verify.findings import Finding, blind, finding, not_checked

MEMORY_LIMIT_BYTES: Final = 1 << 30
_MEMORY: Final = "process_resident_memory_bytes"
_LAG: Final = re.compile(r"^cdp_\w*lag\w*$")
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? ([-+0-9.eE]+|NaN|[+-]Inf)$")
_LOOKS: Final = 4
_BETWEEN_LOOKS_S: Final = 1.5  # lag is measured every two seconds
_NO_PORTS: Final = "no admin port was given (--admin)"


async def check_processes(admin_urls: Sequence[str], memory_limit: int = MEMORY_LIMIT_BYTES) -> list[Finding]:
    """I13, I14 and I16 of the processes behind these ports."""
    if not admin_urls:
        return [not_checked(invariant, _NO_PORTS) for invariant in ("I13", "I14", "I16")]
    memory, lag, ready = finding("I13"), finding("I14"), finding("I16")
    partitions, told = 0, 0
    async with httpx.AsyncClient(timeout=5) as http:
        for url in admin_urls:
            base = url.rstrip("/")
            readiness = await _get(http, f"{base}/readyz")
            if readiness is None or not readiness.is_success:
                ready.wrong(f"{base}: {'no answer' if readiness is None else readiness.text.strip()}")
            answer = await _get(http, f"{base}/metrics")
            if answer is None or not answer.is_success:
                memory.wrong(f"{base}/metrics does not answer")
                lag.wrong(f"{base}/metrics does not answer")
                continue
            page = samples(answer.text)
            told += _MEMORY in page
            if page.get(_MEMORY, 0) > memory_limit:
                memory.wrong(f"{base} holds {page[_MEMORY] / 2**20:,.0f} MiB of memory")
            partitions += sum(map(_is_lag, page))
            lag.all_wrong(await _lagging(http, base))
    memory.compared = f"{told} of {len(admin_urls)} processes with {memory_limit / 2**20:,.0f} MiB each"
    lag.compared, ready.compared = f"the lag of {partitions} partitions", f"{len(admin_urls)} processes"
    # a process without partitions is as good as one that has caught up; all of them without any are not
    if not partitions and not lag.count:
        lag = blind("I14", "none of these processes has partitions")
    if not told and not memory.count:
        memory = blind("I13", "none of these processes tells its memory")
    return [memory, lag, ready]


def samples(page: str) -> Mapping[str, float]:
    """A page of metrics in Prometheus's text format: name with labels -> value."""
    found = {}
    for line in page.splitlines():
        match = _SAMPLE.match(line)
        if match is not None:
            name, labels, value = match.groups()
            found[f"{name}{{{labels}}}" if labels else name] = float(value)
    return found


async def _lagging(http: httpx.AsyncClient, base: str) -> list[str]:
    """What lags at every look: a message that is on its way at one of them is no lag."""
    behind: dict[str, float] = {}
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_BETWEEN_LOOKS_S)
        answer = await _get(http, f"{base}/metrics")
        now = {name: value for name, value in samples(answer.text).items() if not value <= 0} if answer else behind
        behind = {name: now[name] for name in now if _is_lag(name) and (not look or name in behind)}
        if not behind:
            break
    return [f"{base}: {name} is {value:,.0f}" for name, value in behind.items()]


def _is_lag(name: str) -> bool:
    return _LAG.match(name.partition("{")[0]) is not None


async def _get(http: httpx.AsyncClient, url: str) -> httpx.Response | None:
    try:
        return await http.get(url)
    except httpx.HTTPError:
        return None
