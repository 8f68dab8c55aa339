"""Operator and API server are away: calls go on, and gateways that are killed meanwhile serve what they served last.

`make outage` takes ten minutes of it, `make outage SECONDS=3600` an hour; without, a few seconds, in which agents try
to list anew as often as they else would in ten minutes.
"""

import os
import time

from tests.controlplane.api import eventually
from tests.prober.disturbances import Disturber, without_gateway
from tests.prober.verdict import problems_of
from tests.prober.world import REGIONS, Calling, Platform

SECONDS = float(os.environ.get("TOMOUL_OUTAGE_SECONDS", "15"))
PACE, RATE = 200, 50
APPLIED_SECONDS = 60
"""In which a change is applied once the API server is back."""


def test_no_call_fails_while_operator_and_api_server_are_away_for_long(platform: Platform) -> None:
    disturber = Disturber(platform)
    platform.pods.settle()
    if SECONDS < 60:
        for gateway in platform.gateways.values():
            gateway.relist_seconds = 1.0
            gateway.kill("agent")
            gateway.start()
            gateway.knows()
    with Calling(platform, PACE) as calling:
        time.sleep(1)
        platform.stop_operator()
        platform.control_plane.stop_apiserver()
        platform.api.close()
        began = time.monotonic()
        try:
            for number, region in enumerate(REGIONS, 1):
                time.sleep(max(0, began + number * SECONDS / 3 - time.monotonic()))
                with disturber.window(f"the gateway of {region}", without_gateway(region), needed=True):
                    platform.gateways[region].restart()
            time.sleep(max(0, began + SECONDS - time.monotonic()))
            calling.check()
        finally:
            away = time.monotonic() - began
            platform.control_plane.start_apiserver()
            platform.operator = platform.start_operator()
        with disturber.window("a change after it"):
            disturber.apply_argument()
            back = time.monotonic()
            eventually(disturber.argument_is_applied, APPLIED_SECONDS)
            applied = time.monotonic() - back
        # Kubernetes' controllers have been away too, and take their time.
        platform.ready("changing", 240)
    report = calling.report
    print(f"\n{report['calls']} calls, {len(report['refused'])} refused; {away:.0f} s without operator and API server")
    print(f"a change was applied after {applied:.1f} s")
    problems = problems_of(report, disturber.windows, RATE)
    assert not problems, "\n".join(problems)
