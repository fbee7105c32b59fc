"""``make bench``: every figure with its bare baseline from the same run, as a table and as bench/results.json."""

import asyncio
import sys

from bench import gateway, pipeline, report, segments
from bench.machine import Noisy, require_quiet

SETTINGS = "Kafka acks=all, idempotent; Postgres synchronous_commit=on; ClickHouse through chDB, one node; 2 cores"


def main() -> int:
    wanted = set(sys.argv[1:]) or {"P1", "P2", "P5", "P12", "P14"}
    rows: list[report.Row] = []
    try:
        require_quiet()
        if wanted & {"P1", "P2", "P5", "P14"}:
            rows += _on_a_stack(wanted)
        if "P12" in wanted:
            rows += segments.rows()
    except Noisy as noise:
        print(f"No figure is reported: {noise}.", file=sys.stderr)
        return 1
    print(f"\n{report.markdown(rows)}\n\n{SETTINGS}")
    report.save(rows)
    return 0


def _on_a_stack(wanted: set[str]) -> list[report.Row]:
    rows: list[report.Row] = []
    with pipeline.running() as stack:
        if wanted & {"P5", "P14"}:
            pipeline.segments(stack, 100)
            row, rate = pipeline.end_to_end(stack)
            rows.append(row)
            print(f"  P5 ran at {rate:,.0f} events/s end to end")
            if "P14" in wanted:
                rows.append(asyncio.run(pipeline.freshness(stack, rate)))
        if wanted & {"P1", "P2"}:
            rows = gateway.rows(stack) + rows  # last: it suspends what is behind the gateway
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
