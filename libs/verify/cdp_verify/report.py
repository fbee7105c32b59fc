"""Findings -> a table for people and an exit code for scripts."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cdp_verify.findings import Finding


def show(findings: Sequence[Finding], console: Console) -> int:
    """Prints the table and every kept violation; 1 when there is any, else 0."""
    table = Table(show_lines=False, pad_edge=False)
    for head in ("", "invariant", "result", "compared"):
        table.add_column(head, overflow="fold")
    for one in findings:
        table.add_row(one.invariant, one.meaning, _verdict(one), escape(one.compared or one.not_checked))
    console.print(table)
    for one in findings:
        for detail in one.violations:
            console.print(f"[red]{one.invariant}[/red] {escape(detail)}")
        if one.count > len(one.violations):
            console.print(f"[red]{one.invariant}[/red] and {one.count - len(one.violations):,} more")
        for note in one.notes:
            console.print(f"[dim]{one.invariant} {escape(note)}[/dim]")
    console.print(_sentence(findings))
    return int(any(one.count for one in findings))


def _verdict(one: Finding) -> str:
    if one.not_checked:
        return "[yellow]not checked[/yellow]"
    return f"[red]{one.count:,} violations[/red]" if one.count else "[green]holds[/green]"


def _sentence(findings: Sequence[Finding]) -> str:
    broken = [one.invariant for one in findings if one.count]
    unchecked = [one.invariant for one in findings if one.not_checked]
    held = len(findings) - len(broken) - len(unchecked)
    tail = f" Not checked: {', '.join(unchecked)}." if unchecked else ""
    if broken:
        return f"Broken: {', '.join(broken)}. {held} hold.{tail}"
    return f"{held} of {len(findings)} invariants hold, none is broken.{tail}"
