"""Helm, as the tests call it."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.programs import program

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "tomoul"
Object = dict[str, Any]


class HelmError(Exception):
    """Helm failed; the text is what it wrote to stderr."""


def helm(*args: str) -> str:
    """What Helm printed. Raises HelmError."""
    done = subprocess.run([program("helm"), *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


def render(*values: str, namespace: str = "tomoul-system") -> list[Object]:
    """The chart's objects with `values` set, each as `gateway.replicas=3`."""
    options = [option for value in values for option in ("--set", value)]
    command = ("template", "tomoul", str(CHART), "--namespace", namespace, "--kube-version", "1.34.0", *options)
    return [found for found in yaml.safe_load_all(helm(*command)) if found]


def one(objects: list[Object], kind: str, name: str) -> Object:
    """The object of that kind and name."""
    (found,) = [entry for entry in objects if entry["kind"] == kind and entry["metadata"]["name"] == name]
    return found


def operator_args(*values: str) -> list[str]:
    """Arguments of the operator's container with `values` set."""
    pod = one(render(*values), "Deployment", "tomoul-operator")["spec"]["template"]["spec"]
    args: list[str] = pod["containers"][0]["args"]
    return args
