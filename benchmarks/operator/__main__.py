"""`python -m benchmarks.operator`."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.operator.run import PHASES, run
from benchmarks.operator.table import markdown


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument("--models", type=int, default=1500)
    parser.add_argument("--quick", action="store_true", help="150 models")
    parser.add_argument(
        "--phases",
        nargs="*",
        choices=PHASES,
        default=PHASES,
        metavar="PHASE",
        help=f"what to measure beside the growth of the fleet: {', '.join(PHASES)}; all unless given, none if empty",
    )
    parser.add_argument("--events", type=int, default=5000, help="events of the storm")
    parser.add_argument("--by-part", action="store_true", help="wait for a line on stdin before each part")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="write all figures there")
    given = parser.parse_args()

    def part(name: str) -> None:
        print(f"part: {name}", file=sys.stderr, flush=True)
        if given.by_part:
            sys.stdin.readline()

    report = run(150 if given.quick else given.models, given.phases, given.events, part)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(report, indent=1) + "\n")
    print(markdown(report))


if __name__ == "__main__":
    main()
