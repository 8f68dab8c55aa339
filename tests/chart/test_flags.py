import click
import pytest
from click.testing import CliRunner

from tests.chart.helm import as_the_kubelet_hands_on, operator_args, operator_pod
from tests.chart.values import OTHER
from tomoul.api.routingtable import GatewayAuth
from tomoul.cli import operator
from tomoul.cli.main import main
from tomoul.controller.options import OperatorOptions
from tomoul.plan.settings import Settings

FIXED = {
    "--health-port": "the pod's probes ask at it",
    "--metrics-port": "the Service and the NetworkPolicy name it",
    "--external-metrics-port": "the Service and the NetworkPolicy name it",
    "--lease-name": "the Role gives rights to the Lease of that name alone",
    "--gateway-service-account": "the chart gives the account of that name its rights",
    "--pod-ip": "the pod's own, by its variable POD_IP",
    "--kubeconfig": "a pod has its ServiceAccount's",
    "--help": "runs nothing",
}
"""Flags of the operator that no value sets, and why."""


def test_each_flag_of_the_operator_is_set_by_a_value_or_fixed_for_a_reason() -> None:
    with click.Context(main) as context:
        command = main.get_command(context, "operator")
        assert command is not None
        known = {option for parameter in command.get_params(context) for option in parameter.opts}
    subcommand, *flags = operator_args(tree=OTHER)
    assert subcommand == "operator"
    passed = {flag.partition("=")[0] for flag in flags}
    assert passed | FIXED.keys() == known
    assert passed & FIXED.keys() == set()


def options_of(monkeypatch: pytest.MonkeyPatch, *args: str, **environment: str) -> OperatorOptions:
    """What the operator runs with."""
    seen: list[OperatorOptions] = []

    async def run_operator(options: OperatorOptions, _kubeconfig: str | None) -> None:
        seen.append(options)

    monkeypatch.setattr(operator, "run_operator", run_operator)
    monkeypatch.setattr(operator, "setup_logging", lambda _format: None)
    result = CliRunner().invoke(operator.command, args, env=environment)
    assert result.exit_code == 0, result.output
    (options,) = seen
    return options


def settings_of(monkeypatch: pytest.MonkeyPatch, *args: str, **environment: str) -> Settings:
    """The Settings that the operator runs with."""
    return options_of(monkeypatch, *args, **environment).settings


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
    found = options_of(monkeypatch, *args, "--namespace=tomoul-system")
    assert found == OperatorOptions(identity=found.identity)


def test_values_of_the_operator_itself_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _, *args = operator_args(
        "resyncSeconds=60", "operator.workers=8", "scaling.sampleSeconds=2", "scaling.refusedSeconds=120"
    )  # fmt: skip
    found = options_of(monkeypatch, *args)
    assert (found.resync_seconds, found.workers, found.sample_seconds, found.refused_seconds) == (60, 8, 2, 120)
    assert "--log-format=text" in operator_args("operator.logFormat=text")


def test_what_gateways_are_given_reaches_the_operator_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    given = OTHER["gateway"]
    _, *args = operator_args(tree=OTHER)
    settings = settings_of(monkeypatch, *as_the_kubelet_hands_on(args))
    overlay = settings.gateway_overlay.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert settings.gateway_service_type == given["serviceType"]
    assert overlay["labels"] == OTHER["commonLabels"]
    assert overlay["service"] == given["service"]
    assert overlay["resources"] == given["resources"]
    assert settings.gateway_overlay.resources.max_heap_bytes == 2 * 1024**3
    pods = overlay["pods"]
    assert pods.pop("labels") == given["podLabels"]
    assert pods.pop("annotations") == given["podAnnotations"]
    zones = pods["affinity"]["podAntiAffinity"].pop("preferredDuringSchedulingIgnoredDuringExecution")
    assert len(zones) == 1, "Helm puts maps together"
    assert pods == {name: given[name] for name in pods}


@pytest.mark.parametrize(("pod_ip", "listens"), [("10.0.0.7", "0.0.0.0"), ("fd00::7", "::"), ("", "0.0.0.0")])
def test_gateways_and_engines_listen_on_the_family_of_the_operators_own_address(
    monkeypatch: pytest.MonkeyPatch, pod_ip: str, listens: str
) -> None:
    environment = {variable["name"]: variable for variable in operator_pod()["spec"]["containers"][0]["env"]}
    assert environment["POD_IP"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert settings_of(monkeypatch, POD_IP=pod_ip).listen_address == listens


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ("[]", "should be an object"),
        ("{", "Invalid JSON"),
        ('{"pods": {"priority": "high"}}', "pods.priority: is unknown"),
        (
            '{"pods": {"tolerations": [{"value": "a"}]}}',
            "pods.tolerations.0: key: must be set where",
        ),
        ('{"labels": {"tomoul.ai/region": "a"}}', "label `tomoul.ai/region` means something"),
        ('{"pods": {"labels": {"app.kubernetes.io/name": "a"}}}', "label `app.kubernetes.io/name` means something"),
        ('{"resources": {"envoy": {"limits": {"memory": "64Mi"}}}}', "limits.memory must be 256Mi or more"),
        ('{"resources": {"envoy": {"limits": {"memory": "much"}}}}', "`much` is no quantity"),
    ],
)
def test_an_overlay_of_gateways_that_is_none_is_refused_by_field(overlay: str, words: str) -> None:
    result = CliRunner().invoke(operator.command, [f"--gateway-overlay={overlay}"])
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())


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
    assert result.exit_code == 1
    assert words in " ".join(result.output.split())
