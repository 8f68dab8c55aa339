"""Pods by Deployment: what is known of them, and what their loaders said."""

from dataclasses import replace

from tomoul.controller.pods import Pod
from tomoul.kube.store import Change
from tomoul.plan.loading import DownloadFact
from tomoul.plan.podfact import PodFact
from tomoul.plan.world import Key


class PodsByDeployment:
    """A live view."""

    def __init__(self) -> None:
        self.pods: dict[Key, tuple[PodFact, ...]] = {}
        """By their Deployments, in the order of their names."""
        self._siblings: dict[Key, dict[Key, PodFact]] = {}
        self.downloads: dict[Key, DownloadFact] = {}
        """What the loaders of pods said last; `set_download` keeps it."""

    def see(self, change: Change[Pod]) -> None:
        """Bring the view up to date."""
        for pod, present in ((change.old, False), (change.new, True)):
            if pod is None:
                continue
            siblings = self._siblings.setdefault(pod.deployment, {})
            if present:
                siblings[change.key] = self._with_download(change.key, pod.fact)
            else:
                siblings.pop(change.key, None)
            self._view(pod.deployment)

    def set_download(self, key: Key, pod: Pod | None, fact: DownloadFact | None) -> None:
        """What the loader of a pod, if that is there, said last, or None if it is not asked any more."""
        if fact is None:
            self.downloads.pop(key, None)
        else:
            self.downloads[key] = fact
        if pod is not None:
            self._siblings[pod.deployment][key] = self._with_download(key, pod.fact)
            self._view(pod.deployment)

    def _view(self, deployment: Key) -> None:
        siblings = self._siblings[deployment]
        self.pods[deployment] = tuple(siblings[key] for key in sorted(siblings))
        if not siblings:
            del self._siblings[deployment], self.pods[deployment]

    def _with_download(self, key: Key, pod: PodFact) -> PodFact:
        # What a loader said that does not run any more is over, whoever has not heard of that yet.
        told = self.downloads.get(key)
        return replace(pod, download=told) if pod.loading and told is not None else pod
