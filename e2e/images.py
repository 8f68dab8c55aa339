"""The images, built here and loaded into the cluster's nodes: nothing is pulled."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e.cluster import NAME, Cluster
from e2e.command import ROOT, run
from e2e.progress import Progress

BUILT = ("operator", "cpu-engine", "envoy")
ENGINE_IMAGE = "tomoul/cpu-engine:0.1.0"
"""What the planner runs LlamaCpp models with, so it must also have this name."""


def build_images(
    progress: Progress, root: Path = ROOT, names: Sequence[str] = BUILT, label: str = "e2e"
) -> Mapping[str, str]:
    """Build a checkout's images; their names by folder. Tags are made of the images' ids: a change replaces pods."""
    tags = {}
    for name in names:
        with progress.step(f"building the image {name}" + (f" of {label}" if root != ROOT else "")):
            image_id = run(
                "docker", "build", "-q", "-f", root / f"images/{name}/Dockerfile", root, timeout=900
            ).split()[-1]
        tags[name] = f"tomoul/{name}:{label}-{image_id.removeprefix('sha256:')[:12]}"
        for old in run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"tomoul/{name}").split():
            if f":{label}-" in old and old != tags[name]:
                run("docker", "rmi", "-f", old)
        run("docker", "tag", image_id, tags[name])
    if "cpu-engine" in tags:
        run("docker", "tag", tags["cpu-engine"], ENGINE_IMAGE)
    return tags


def load_images(cluster: Cluster, tags: Mapping[str, str], progress: Progress) -> bool:
    """Load what the workers lack. Whether that was the engine's image: its name stays, so its pods must be replaced."""
    workers = [node["metadata"]["name"] for node in cluster.workers().values()]
    there = [run("docker", "exec", worker, "ctr", "-n", "k8s.io", "images", "ls", "-q") for worker in workers]
    lacking = {name: tag for name, tag in tags.items() if not all(f"/{tag}\n" in images for images in there)}
    engine = "cpu-engine" in lacking
    if lacking:
        load = [*lacking.values(), *([ENGINE_IMAGE] if engine else [])]
        with progress.step(f"loading {', '.join(lacking)} into the workers"):
            run("kind", "load", "docker-image", *load, "--name", NAME, "--nodes", ",".join(workers), timeout=600)
    return engine
