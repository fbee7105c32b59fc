"""Destinations whose names lead inside once they are saved, redirects to inside, secrets in the logs."""

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from faults.ear import Ear
from faults.scenarios.tenants import deliver, secret_of, webhook
from faults.stack import ALL, until
from faults.tenants import NEIGHBOUR
from faults.trial import NotHere, Trial, fault

_PUBLIC = "93.184.215.14"  # what the names are while they are saved; nobody connects to it
_INSIDE = {
    "loopback.example": "127.0.0.1",
    "metadata.example": "169.254.169.254",
    "private.example": "10.0.0.1",
    "shared.example": "100.64.0.1",
    "six.example": "::1",
    "mapped.example": "::ffff:127.0.0.1",
}
_CALLERS = ("activation", "analytics-api")
_REDIRECTS = (301, 302, 303, 307, 308)


@fault("F26", "names that lead inside once they are saved, redirects to inside, secrets in the logs", *ALL)
def addresses_inside(trial: Trial) -> None:
    stack = trial.stack
    with ExitStack() as open_ones:
        inside = open_ones.enter_context(closing(Ear()))
        doors = [open_ones.enter_context(closing(Ear(one, f"http://{inside.address}/"))) for one in _REDIRECTS]
        hosts = stack.data / "hosts"
        _write(hosts, dict.fromkeys(_INSIDE, _PUBLIC))
        stack.callable.update(door.address for door in doors)
        for name in _CALLERS:
            stack.wrapped[name] = _with_hosts(hosts)
            stack.restart(name, CDP_LOG_LEVEL="debug", CDP_ACTIVATION_ALLOWED_PORTS=f"443,{inside.server_port}")
        try:
            _play(trial, hosts, inside, doors)
        finally:
            stack.callable.difference_update(door.address for door in doors)
            for name in _CALLERS:
                del stack.wrapped[name]
                stack.restart(name)
    trial.broken += stack.leaks([secret_of(NEIGHBOUR)])


def _play(trial: Trial, hosts: Path, inside: Ear, doors: Sequence[Ear]) -> None:
    stack, said = trial.stack, []
    named = {host: f"https://{host}:{inside.server_port}/" for host in _INSIDE}
    secret = secret_of(NEIGHBOUR)
    tested = [webhook(stack, NEIGHBOUR, f"{trial.proof.prefix} {host}", url, secret) for host, url in named.items()]
    for url in named.values():  # while the names are public; nobody is a member yet
        deliver(trial, NEIGHBOUR, url)
    for door in doors:
        deliver(trial, NEIGHBOUR, f"http://{door.address}/redirected")
    _write(hosts, _INSIDE)
    for one in tested:
        answer = stack.api("POST", f"/destinations/{one}/test", NEIGHBOUR)
        said.append(answer.text)
        trial.demand(answer.json()["data"]["ok"] is False, f"the test of a name that leads inside says {answer.text}")
    with trial.load():
        until("every redirect was answered", lambda: all(door.connections for door in doors), 60)
        until("every name was tried", lambda: _calls(trial) >= len(_INSIDE) + len(doors), 60)
        trial.kill("activation")
        stack.need("activation")
        trial.proof.grows(50)
    said += [stack.api("GET", path, NEIGHBOUR, params={"limit": 200}).text for path in ("/destinations", "/audiences")]
    trial.demand(inside.connections == 0, f"{inside.connections} connections to an address that may not be called")
    trial.demand(not any(secret in text for text in said), "an answer of the front door tells a destination's secret")
    trial.notes.append(f"{sum(door.connections for door in doors)} redirects, {len(tested) * 2} names that lead inside")


def _calls(trial: Trial) -> float:
    return trial.stack.metric("activation", "cdp_activation_calls_total", 'type="webhook"')


def _with_hosts(hosts: Path) -> list[str]:
    """A command that runs another one with its own /etc/hosts: a resolver whose answers change when the file does."""
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, str(hosts)]
    try:
        done = subprocess.run([*argv, "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotHere(f"unshare: {error.strerror}") from error
    if done.returncode:
        raise NotHere(f"no names of its own for a process: {done.stderr.strip()}")
    return argv


def _write(hosts: Path, names: dict[str, str]) -> None:
    """In place: what is mounted is the file, not its name."""
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in names.items()))
