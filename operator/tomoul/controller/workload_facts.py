"""Workload facts: what a plan is told of Deployments, LeaderWorkerSets and what scales them."""

from tomoul.controller.children import Child
from tomoul.kube.store import Change
from tomoul.plan.world import AutoscalerFact, DeploymentFact, Key


class WorkloadFacts:
    """A live view."""

    def __init__(self) -> None:
        self.deployments: dict[Key, DeploymentFact] = {}
        self.group_sets: dict[Key, DeploymentFact] = {}
        """By the name that the pool's Deployment would have."""
        self.autoscalers: dict[Key, AutoscalerFact] = {}

    def see_deployment(self, change: Change[Child[DeploymentFact]]) -> None:
        """Bring `deployments` up to date."""
        if change.new is None:
            self.deployments.pop(change.key, None)
        else:
            self.deployments[change.key] = change.new.fact

    def see_group_set(self, change: Change[Child[DeploymentFact]]) -> None:
        """Bring `group_sets` up to date."""
        for child, present in ((change.old, False), (change.new, True)):
            if child is not None and child.pool:
                pool = Key(change.key.namespace, child.pool)
                if present:
                    self.group_sets[pool] = child.fact
                else:
                    self.group_sets.pop(pool, None)

    def see_autoscaler(self, change: Change[Child[AutoscalerFact]]) -> None:
        """Bring `autoscalers` up to date."""
        # While one kind takes over from the other, both may have the name: the new one's fact counts.
        if change.new is not None:
            self.autoscalers[change.key] = change.new.fact
        elif change.old is not None and self.autoscalers.get(change.key) == change.old.fact:
            del self.autoscalers[change.key]
