"""Findings -> a table for people and an exit code for scripts."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cdp_verify.findings import Finding

BROKEN: Final = 1
BLIND: Final = 3  # 2 is that of a command that is written wrongly


def show(findings: Sequence[Finding], console: Console) -> int:
    """Prints the table and every kept violation; BROKEN when there is any, BLIND when somebody could not look, or 0."""
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
        for part in one.passed_over:
            console.print(f"[yellow]{one.invariant} not judged: {escape(part)}[/yellow]")
        for note in one.notes:
            console.print(f"[dim]{one.invariant} {escape(note)}[/dim]")
    console.print(_sentence(findings))
    if any(one.count for one in findings):
        return BROKEN
    return BLIND if any(one.is_blind for one in findings) else 0


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
