"""`python -m benchmarks.affinity`."""

import argparse
import asyncio
import json
from pathlib import Path

from benchmarks.affinity.run import run


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.affinity", description=__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write all figures there")
    output: Path | None = parser.parse_args().output
    report = asyncio.run(run())
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(report, indent=1) + "\n")
    print("| | prompt tokens | of these cached | calls at the busiest replica |")
    print("| --- | --- | --- | --- |")
    for name, found in report["subjects"].items():
        share, busiest = found["cached_share"], found["busiest_replica_share"]
        print(f"| {name} | {found['prompt_tokens']:,} | {share:.0%} | {busiest:.0%} |")


if __name__ == "__main__":
    main()
