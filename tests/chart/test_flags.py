import pytest
from click.testing import CliRunner

from tests.chart.helm import operator_args
from tomoul.api.routingtable import GatewayAuth
from tomoul.cli import operator
from tomoul.controller.options import OperatorOptions
from tomoul.plan.settings import Settings


def settings_of(monkeypatch: pytest.MonkeyPatch, *args: str, **environment: str) -> Settings:
    """The Settings that the operator runs with."""
    seen: list[OperatorOptions] = []

    async def run_operator(options: OperatorOptions, _kubeconfig: str | None) -> None:
        seen.append(options)

    monkeypatch.setattr(operator, "run_operator", run_operator)
    monkeypatch.setattr(operator, "setup_logging", lambda _format: None)
    result = CliRunner().invoke(operator.command, args, env=environment)
    assert result.exit_code == 0, result.output
    (options,) = seen
    return options.settings


def test_the_charts_values_become_the_operators_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    _, *args = operator_args(
        "image.repository=registry.local/operator", "image.tag=v7", "hostRegions={eu-west,us-east}",
        "engines.llamaCpp.image=registry.local/cpu-engine:v7", "imagePullSecrets={registry,mirror}",
        "metrics.scrapeNamespaces={monitoring,audit}", "propagate.labels={team,example.com/cost-center}",
        "propagate.annotations={example.com/owner}",
        "engines.egress=Open", "gateway.auth=None", "gateway.maxBodyBytes=33554432", "gateway.commentSeconds=0",
        "gateway.routesPerTable=0",
    )  # fmt: skip
    assert settings_of(monkeypatch, *args, "--namespace=tomoul-system") == Settings(
        operator_image="registry.local/operator:v7",
        hosted_regions=frozenset({"eu-west", "us-east"}),
        llama_cpp_image="registry.local/cpu-engine:v7",
        image_pull_secrets=("registry", "mirror"),
        scrape_namespaces=("monitoring", "audit"),
        propagated_labels=("team", "example.com/cost-center"),
        propagated_annotations=("example.com/owner",),
        engine_egress="Open",
        gateway_auth=GatewayAuth.NONE,
        gateway_max_body_bytes=32 * 1024 * 1024,
        gateway_comment_seconds=0,
        routes_per_table=None,
    )


def test_the_charts_defaults_are_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    _, *args = operator_args()
    assert settings_of(monkeypatch, *args, "--namespace=tomoul-system") == Settings()


def test_the_engines_image_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(monkeypatch, TOMOUL_LLAMA_CPP_IMAGE="registry.local/cpu-engine:v7")
    assert found == Settings(llama_cpp_image="registry.local/cpu-engine:v7")


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--propagate-labels=team,app.kubernetes.io/name", "`app.kubernetes.io/name` means something"),
        ("--propagate-labels=tomoul.ai/region", "`tomoul.ai/region` means something"),
        ("--propagate-annotations=kubectl.kubernetes.io/last-applied-configuration", "leave it out"),
        ("--propagate-annotations=a/b/c", "`a/b/c` is no name of a label or annotation"),
    ],
)
def test_metadata_that_has_a_meaning_on_what_runs_cannot_be_propagated(flag: str, words: str) -> None:
    result = CliRunner().invoke(operator.command, [flag])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
