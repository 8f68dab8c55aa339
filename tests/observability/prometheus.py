"""A real Prometheus as a process, and what it answers."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane.api import eventually
from tests.controlplane.process import Process, free_port
from tests.observability.programs import program

Object = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is scraped, with the labels that a PodMonitor or ServiceMonitor would give it."""

    job: str
    port: int
    path: str = "/metrics"
    labels: Mapping[str, str] = field(default_factory=dict)
    keep: Sequence[str] = ()
    """Regular expressions of which a metric's name has to match each."""


@dataclass(frozen=True)
class Sample:
    """One series of an instant query's result."""

    labels: Mapping[str, str]
    value: float


class QueryError(Exception):
    """Prometheus refuses a query, in its words."""


class Prometheus:
    """Scrapes and evaluates once a second while its `with` block lasts."""

    def __init__(self, folder: Path, targets: Sequence[Target], rules: Object) -> None:
        self._folder = folder
        self.port = free_port()
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": f"{target.job}-{number}",
                    "metrics_path": target.path,
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{target.port}"], "labels": {"job": target.job, **dict(target.labels)}}
                    ],
                    "metric_relabel_configs": [
                        {"source_labels": ["__name__"], "action": "keep", "regex": regex} for regex in target.keep
                    ],
                }
                for number, target in enumerate(targets)
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._process: Process | None = None

    def __enter__(self) -> "Prometheus":
        command = [
            program("prometheus"), f"--config.file={self._folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]  # fmt: skip
        self._process = Process(command, self._folder / "prometheus.log")
        try:
            eventually(lambda: self._get("/-/ready"), message="Prometheus is ready")
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.stop()

    def query(self, expression: str) -> list[Sample]:
        """The result of an instant query; a scalar is one sample without labels. Raises QueryError."""
        data = json.loads(self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(found["metric"], float(found["value"][1])) for found in data["result"]]

    def firing(self) -> dict[str, list[Mapping[str, str]]]:
        """Labels of each alert that fires, by alert."""
        alerts: dict[str, list[Mapping[str, str]]] = {}
        for found in json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]:
            if found["state"] == "firing":
                alerts.setdefault(found["labels"]["alertname"], []).append(found["labels"])
        return alerts

    def down(self) -> list[str]:
        """Scrapes that fail, with why."""
        targets = json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]
        return [f"{found['scrapeUrl']}: {found['lastError']}" for found in targets if found["health"] != "up"]

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode()
            if error.code == 503:
                raise ConnectionError("not ready") from error
            raise QueryError(said) from error


def promtool(*args: str | Path) -> str:
    """What promtool printed. AssertionError with its words if it fails."""
    done = subprocess.run([program("promtool"), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout
