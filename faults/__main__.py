"""``python -m faults``: faults by number and a seed in; table, ledger, exit code 1 (violated) or 3 (not run) out."""

import os
import random
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

from faults import ledger, releases, runner
from faults.catalogue import NOT_RUN, SCENARIOS, chosen
from faults.stack import OnDemand
from faults.storm import storm
from faults.trial import Effort

app = typer.Typer(pretty_exceptions_enable=False)
console = Console(soft_wrap=True, highlight=False)


@app.command()
def main(
    numbers: Annotated[list[str] | None, typer.Argument(help="F2 F8 …; all without any")] = None,
    seed: Annotated[int | None, typer.Option(help="of events, moments and reaches; a new one without it")] = None,
    minutes: Annotated[float, typer.Option(help="no scenario begins after so long; all take about 15")] = 25.0,
    load: Annotated[float, typer.Option(help="share of the usual load")] = 1.0,
    steps: Annotated[float, typer.Option(help="share of the usual number of steps")] = 1.0,
    seconds: Annotated[float, typer.Option(min=0, help="how long F27 goes on; 40 without it")] = 0.0,
    kills: Annotated[
        int, typer.Option(min=0, help="a storm of so many kill -9 of everything; alone without numbers")
    ] = 0,
    previous: Annotated[str, typer.Option(help="revision that F4 mixes with this one; the newest tag without it")] = "",
    listed: Annotated[bool, typer.Option("--list", help="what is run, and why the rest is not")] = False,
    report: Annotated[bool, typer.Option("--report", help="the ledger's sums as Markdown")] = False,
) -> None:
    """Breaks a whole Millrace on purpose and compares its stores with the journal of its clients."""
    titles = {number: scenario.title for number, scenario in SCENARIOS.items()}
    if listed or report:
        console.print(_list() if listed else ledger.markdown(ledger.lines(), titles), markup=False)
        return
    if previous:
        os.environ[releases.VARIABLE] = previous
    try:
        scenarios = chosen(numbers or []) if numbers or not kills else []
        scenarios += [storm(kills)] if kills else []
    except KeyError as unknown:
        number = str(unknown.args[0])
        console.print(f"There is no scenario {number}: {NOT_RUN.get(number, 'see python -m faults --list')}.")
        raise typer.Exit(2) from None
    seed = random.randrange(10**6) if seed is None else seed
    console.print(f"seed {seed}")
    stack = OnDemand()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends it gets its processes, mounts and files back
    try:
        outcomes = runner.run_all(
            stack,
            scenarios,
            seed,
            lambda text: console.print(text, markup=False),
            minutes,
            Effort(load, steps, seconds),
        )
    finally:
        stack.close()
    console.print()
    Console(width=max(console.width, 110)).print(ledger.table([outcome.line for outcome in outcomes]))
    not_all = 3 if len(outcomes) < len(scenarios) else 0
    raise typer.Exit(1 if any(outcome.violations for outcome in outcomes) else not_all)


def _list() -> str:
    run = [f"{one.number:4} {one.title}" for one in chosen([])]
    rest = [f"{number:4} not run: {reason}" for number, reason in NOT_RUN.items()]
    return "\n".join([*run, *rest])


if __name__ == "__main__":
    app()
