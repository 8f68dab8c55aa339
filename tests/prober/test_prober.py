"""Many calls, pinned and not, to be stored and not, while all kinds of things happen: none goes to a wrong region.

`TOMOUL_PROBER_CALLS` says how many (`make prober`: a million), `TOMOUL_PROBER_RATE` how many a second at least, and
`TOMOUL_PROBER_PACE` how many at most (0: as many as there can be): others need this machine too.
"""

import itertools
import os
import time

from tests.prober.disturbances import Disturber
from tests.prober.verdict import problems_of
from tests.prober.world import Calling, Platform

CALLS = int(os.environ.get("TOMOUL_PROBER_CALLS", "100000"))
RATE = float(os.environ.get("TOMOUL_PROBER_RATE", "200"))
PACE = float(os.environ.get("TOMOUL_PROBER_PACE", "1200"))
CALM_SECONDS = 1.0


def test_no_call_of_many_is_answered_by_a_wrong_region_or_cache_whatever_happens_meanwhile(platform: Platform) -> None:
    disturber = Disturber(platform)
    began = time.monotonic()
    with Calling(platform, PACE) as calling:
        done = 0
        for disturb in itertools.cycle(disturber.all):
            time.sleep(CALM_SECONDS)  # in which nothing may be refused
            disturb()
            done += 1
            calling.check()
            if calling.wrong or (calling.calls >= CALLS and done >= len(disturber.all)):
                break
        time.sleep(CALM_SECONDS)
    report, seconds = calling.report, time.monotonic() - began
    print(f"\n{report['calls']} calls in {seconds:.0f} s, {done} disturbances, {report['wrong']} wrong,")
    print(f"{report['hits']} with cached tokens, {len(report['refused'])} refused; {report['kinds']}")
    problems = problems_of(report, disturber.windows, RATE)
    assert not problems, "\n".join(problems)
    assert report["calls"] >= CALLS
