"""Template: the pod template of a pool, with its revision.

A plan asks for the same template several times, and the plan after the writes of a reconcile once more. Making one is a
third of a plan, so the last few are kept, by the identity of what they were made of, which is immutable.
"""

from tomoul.api.modeldeployment import ModelDeployment
from tomoul.api.region import Region
from tomoul.api.routingtable import PoolName
from tomoul.plan.groups import pool_template
from tomoul.plan.settings import Settings
from tomoul.plan.world import Manifest

_KEPT = 128
"""Templates: some for each of the operator's workers."""
_Made = tuple[ModelDeployment, Region, Settings, Manifest]
_recent: dict[tuple[int, int, PoolName, int], _Made] = {}


def pod_template(model: ModelDeployment, region: Region, pool: PoolName, settings: Settings) -> Manifest:
    """The template of a pool's pods, or of its groups of pods, with its revision; nobody may change it in place."""
    key = (id(model), id(region), pool, id(settings))  # ids of what an entry holds belong to nothing else
    made = _recent.get(key)
    if made is None:
        if len(_recent) >= _KEPT:
            del _recent[next(iter(_recent))]
        made = _recent[key] = (model, region, settings, pool_template(model, region, pool, settings))
    return made[3]
