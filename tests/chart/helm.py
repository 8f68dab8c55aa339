"""Helm, as the tests call it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.programs import program

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "charts" / "tomoul"
Object = dict[str, Any]


class HelmError(Exception):
    """Helm failed; the text is what it wrote to stderr."""


def helm(*args: str, stdin: str = "") -> str:
    """What Helm printed. Raises HelmError."""
    done = subprocess.run([program("helm"), *args], capture_output=True, text=True, check=False, input=stdin)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return done.stdout


def render(*values: str, tree: Mapping[str, Any] | None = None, namespace: str = "tomoul-system") -> list[Object]:
    """The chart's objects with `values` set, each as `gateway.replicas=3`, over those of `tree`."""
    options = ["--values", "-", *(option for value in values for option in ("--set", value))]
    command = ("template", "tomoul", str(CHART), "--namespace", namespace, "--kube-version", "1.34.0", *options)
    text = helm(*command, stdin=yaml.safe_dump(tree or {}))
    # Ten times as fast, which is half of a rendering: the definitions are long.
    return [found for found in yaml.load_all(text, yaml.CSafeLoader) if found]


def one(objects: list[Object], kind: str, name: str) -> Object:
    """The object of that kind and name."""
    (found,) = [entry for entry in objects if entry["kind"] == kind and entry["metadata"]["name"] == name]
    return found


def operator_pod(*values: str, tree: Mapping[str, Any] | None = None) -> Object:
    """The template of the operator's pods with `values` set, over those of `tree`."""
    template: Object = one(render(*values, tree=tree), "Deployment", "tomoul-operator")["spec"]["template"]
    return template


def operator_args(*values: str, tree: Mapping[str, Any] | None = None) -> list[str]:
    """Arguments of the operator's container with `values` set, over those of `tree`."""
    args: list[str] = operator_pod(*values, tree=tree)["spec"]["containers"][0]["args"]
    return args


def as_the_kubelet_hands_on(args: list[str]) -> list[str]:
    """Arguments of a container, which has no variables, as its process gets them."""
    return [arg.replace("$$(", "$(") for arg in args]
