"""What `cdp up` shows: states of parts and processes in, a live list and the final table of addresses out."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cdp_devstack.programs import Program

WORKSPACE, WRITE_KEY, API_TOKEN = "demo", "demo-write-key", "demo-api-token"


class Screen:
    """A live list at a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._states: dict[str, str] = {}
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live = Live(self._list(), console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, name: str, state: str) -> None:
        """A part or process has a new state."""
        self._states[name] = state
        if self._live:
            self._live.update(self._list())
        else:
            self.console.print(f"{name}: {state}", markup=False, highlight=False, soft_wrap=True)

    def _list(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, state in self._states.items():
            mark = "[green]●[/]" if state.startswith(("ready", "given", "done")) else "[yellow]○[/]"
            table.add_row(mark, name, state)
        return table


def addresses(started: Mapping[str, str], programs: list[Program], ports: Mapping[str, str]) -> Table:
    """The one table: where everything is and how to log in."""
    table = Table(title="Millrace is running", title_justify="left", show_header=False)
    gateway = f"http://127.0.0.1:{ports['CDP_INGEST_PORT']}"
    door = f"http://127.0.0.1:{ports['CDP_API_PORT']}"
    if programs:
        table.add_row("gateway (send events here)", gateway)
        table.add_row("API", f"{door}/api/cdp   docs: {door}/docs")
        table.add_row("stand-in for platforms", f"http://127.0.0.1:{ports['CDP_STANDIN_PORT']}")
        table.add_row("workspace", WORKSPACE)
        table.add_row("write key", WRITE_KEY)
        table.add_row("API token", API_TOKEN)
    for name, label in _URLS.items():
        table.add_row(label, f"{started[name]}   {name}" if name in started else f"given by {name}")
    for program in programs:
        if program.admin_port:
            table.add_row(f"cdp run {program.name}", f"http://127.0.0.1:{program.admin_port}/metrics")
    return table


_URLS = {
    "CDP_KAFKA_BOOTSTRAP_SERVERS": "Kafka",
    "CDP_POSTGRES_URL": "Postgres",
    "CDP_CLICKHOUSE_URL": "ClickHouse",
    "CDP_REDIS_URL": "Redis",
}
