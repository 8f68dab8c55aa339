"""`tomoul plan`, as a person or a pipeline calls it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tomoul.cli.main import main

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A copy of the examples."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "files"))


def run(*args: object, auth: str = "None", stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["plan", "--auth", auth, *map(str, args)], input=stdin, catch_exceptions=False)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_files_alone_are_all_to_be_created() -> None:
    result = run(EXAMPLES)
    assert result.exit_code == 2
    assert "+ route               tomoul/tiny-chat" in result.stdout
    assert "GPUs in all regions, nvidia-l4: 0 → 6" in result.stdout
    assert "0 to change, 0 to remove" in result.stdout


def test_the_readmes_model_runs_in_the_regions_of_the_examples(files: Path) -> None:
    [model] = re.findall(r"```yaml\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(), re.DOTALL)
    (files / "readme.yaml").write_text(model)
    result = run(files, "--against", EXAMPLES)
    assert (result.exit_code, result.stderr) == (2, "")
    assert "GPUs in all regions, nvidia-l4: 6 → 9" in result.stdout


def test_where_gateways_ask_for_keys_a_pool_beside_a_cache_that_cannot_be_kept_apart_is_not_planned() -> None:
    assert "GPUs in all regions, nvidia-l4: 0 → 4" in run(EXAMPLES, auth="Required").stdout


def test_files_against_themselves_leave_nothing_to_do() -> None:
    result = run(EXAMPLES, "--against", EXAMPLES)
    assert result.exit_code == 0
    assert result.stdout == "Nothing to do.\n"


def test_a_change_is_shown_by_field_with_old_and_new_value_and_gpus(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "replicas: 2", "replicas: 3")
    result = run(files, "--against", EXAMPLES)
    assert result.exit_code == 2
    assert "~ Deployment          models/tiny-chat-eu-west-" in result.stdout
    assert "      spec.replicas: 2 → 3\n" in result.stdout
    assert "GPUs nvidia-l4: 4 → 5" in result.stdout
    assert "us-east" not in result.stdout
    assert "0 to create, 1 to change, 0 to remove" in result.stdout


def test_a_removed_model_is_shown_where_it_ran_and_where_it_was_known(files: Path) -> None:
    (files / "tiny-solo.yaml").unlink()
    edit(files / "tenant.yaml", "models: [tomoul/tiny-chat, tomoul/tiny-solo]", "models: [tomoul/tiny-chat]")
    result = run(files, "--against", EXAMPLES)
    assert result.exit_code == 2
    eu_west, us_east = result.stdout.split("\nus-east\n")
    assert "- route               tomoul/tiny-solo" in eu_west
    assert "- Service             models/tiny-solo-eu-west-" in eu_west
    assert "- route elsewhere     tomoul/tiny-solo" in us_east
    assert "GPUs in all regions, nvidia-l4: 6 → 5" in result.stdout


def test_only_hosted_regions_are_planned() -> None:
    result = run(EXAMPLES, "--hosted", "us-east")
    assert result.exit_code == 2
    assert "eu-west\n" not in result.stdout
    assert "GPUs in all regions, nvidia-l4: 0 → 2" in result.stdout


def test_a_hosted_region_that_does_not_exist_is_an_error_with_those_that_do() -> None:
    result = run(EXAMPLES, "--hosted", "eu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--hosted: Region `eu` does not exist; use one of: eu-west, us-east" in result.stderr


def test_json_says_the_same_as_text(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "replicas: 2", "replicas: 3")
    result = run(files, "--against", EXAMPLES, "--output", "json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["changes"] is True
    assert answer["errors"] == []
    assert answer["gpus"] == [
        {"accelerator": "nvidia-l4", "before": 6, "after": 7, "beforeAtMost": 6, "afterAtMost": 7}
    ]
    eu_west = next(region for region in answer["regions"] if region["region"] == "eu-west")
    assert [(change["action"], change["kind"], change["fields"]) for change in eu_west["objects"]] == [
        ("change", "Deployment", [{"path": "spec.replicas", "old": 2, "new": 3}])
    ]


def test_a_wrong_field_is_named_with_its_file_and_nothing_is_planned(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "drainSeconds", "drainSecond")
    result = run(files)
    assert result.exit_code == 1
    assert "tiny-chat.yaml" in result.stderr
    assert "spec.rollout.drainSecond" in result.stderr
    assert result.stdout == ""


def test_a_model_that_no_region_would_accept_is_an_error_with_its_file_and_the_right_form(files: Path) -> None:
    edit(files / "tiny-solo.yaml", "- name: eu-west", "- name: eu-wset")
    result = run(files)
    assert result.exit_code == 1
    assert (
        f"{files / 'tiny-solo.yaml'}: ModelDeployment models/tiny-solo: spec.regions[0].name: "
        "Region `eu-wset` does not exist; use one of: eu-west, us-east"
    ) in result.stderr


def test_what_is_wrong_in_two_namespaces_is_told_of_both(files: Path) -> None:
    model = (files / "tiny-solo.yaml").read_text().replace("- name: eu-west", "- name: eu-wset")
    (files / "tiny-solo.yaml").write_text(f"{model}\n---\n{model.replace('namespace: models', 'namespace: others')}")
    result = run(files)
    for namespace in ("models", "others"):
        assert f"ModelDeployment {namespace}/tiny-solo: spec.regions[0].name: " in result.stderr
    edit(files / "tiny-solo.yaml", "drainSeconds", "drainSecond")
    result = run(files)
    for document, namespace in ((2, "models"), (4, "others")):
        assert f"document {document}: ModelDeployment {namespace}/tiny-solo: spec.rollout.drainSecond" in result.stderr


def test_a_label_that_pods_take_from_their_model_replaces_them_and_any_other_changes_nothing(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "  name: tiny-chat\n", "  name: tiny-chat\n  labels: {example.com/team: search}\n")
    assert run(files, "--against", EXAMPLES).stdout == "Nothing to do.\n"
    result = run(files, "--against", EXAMPLES, "--propagate-labels", "example.com/team,example.com/cost-center")
    assert result.exit_code == 2
    assert 'spec.template.metadata.labels.example.com/team: (none) → "search"' in result.stdout


def test_a_path_that_does_not_exist_or_a_wrong_option_is_an_error_and_no_changes(files: Path) -> None:
    for wrong in (["missing"], [files, "--against", "missing"], [files, "--propagate-labels", "tomoul.ai/region"], []):
        result = run(*wrong)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr
    assert run(files, "--hosteed", "eu-west").exit_code == 1


@pytest.mark.parametrize("words", [[], ["plna", "files"], ["--nope"], ["local"], ["local", "missing"], ["load", "hf"]])
def test_a_mistyped_command_never_has_the_status_that_means_changes(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Usage: " in result.stderr


def test_a_command_that_does_not_exist_is_answered_with_those_that_do() -> None:
    result = CliRunner().invoke(main, ["plna", "files"])
    assert "no such command `plna`; use one of: plan, local, operator, agent, load, crds" in result.stderr


def test_a_change_that_the_api_server_refuses_is_an_error(files: Path) -> None:
    edit(files / "tiny-solo.yaml", "id: tomoul/tiny-solo", "id: tomoul/tiny-other")
    edit(files / "tenant.yaml", "tomoul/tiny-solo", "tomoul/tiny-other")
    assert run(files).exit_code == 2
    result = run(files, "--against", EXAMPLES)
    assert result.exit_code == 1
    assert re.findall(r"^  [-+~] (\w+)", result.stdout, re.MULTILINE) == ["RoutingTable"] * 2, "the Tenant's entry"
    told = (
        "ModelDeployment models/tiny-solo: spec.model.id: cannot be changed: another id is another model, for another"
    )
    assert f"{files / 'tiny-solo.yaml'}: {told} ModelDeployment; it was `tomoul/tiny-solo`\n" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "regions: [eu-west",
            "regions: [eu-wset",
            "spec.regions: there is no Region `eu-wset`; use one of: eu-west, us-east",
        ),
        ("models: [tomoul/tiny-chat", "models: [tiny-chat", "spec.models: no ModelDeployment has the id `tiny-chat`"),
    ],
)
def test_a_tenant_that_names_what_does_not_exist_is_an_error(files: Path, old: str, new: str, message: str) -> None:
    edit(files / "tenant.yaml", old, new)
    result = run(files)
    assert result.exit_code == 1
    assert f"{files / 'tenant.yaml'}: Tenant models/demo: {message}" in result.stderr


def test_an_alias_that_means_another_model_is_a_warning(files: Path) -> None:
    edit(files / "tiny-solo.yaml", "id: tomoul/tiny-solo", "id: tomoul/tiny-solo\n    aliases: [tomoul/tiny-chat]")
    result = run(files)
    assert result.exit_code == 2
    assert "warning: " in result.stderr
    assert (
        "ModelDeployment models/tiny-solo: eu-west: spec.model.aliases[0]: `tomoul/tiny-chat` is not routed here"
        in result.stderr
    )
    assert len(json.loads(run(files, "--output", "json").stdout)["warnings"]) == 1


def test_a_version_that_the_images_tag_contradicts_is_one_warning_for_all_regions(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "type: LlamaCpp", "type: VLLM\n    image: acme/vllm:v0.8.5\n    version: 0.32.0")
    edit(files / "tiny-chat.yaml", "tools: {}", "tools: {parser: hermes}")
    result = run(files)
    assert result.exit_code == 2, result.stderr
    words = "ModelDeployment models/tiny-chat: spec.engine.version: promises go by `0.32.0`, and the tag of"
    assert result.stderr.count(words) == 1
    assert len(json.loads(run(files, "--output", "json").stdout)["warnings"]) == 1


def test_objects_of_other_groups_are_named_so_that_none_is_thought_planned(files: Path) -> None:
    edit(files / "tiny-solo.yaml", "tomoul.ai/v1alpha1", "other.example.com/v1")
    result = run(files, "--against", EXAMPLES)
    named = (
        f"note: of other API groups, and not looked at: {files / 'tiny-solo.yaml'}: ModelDeployment models/tiny-solo\n"
    )
    assert named in result.stderr


def test_a_namespaces_label_bounds_where_its_models_may_run(files: Path) -> None:
    edit(
        files / "tiny-chat.yaml",
        "kind: Namespace\nmetadata:\n",
        "kind: Namespace\nmetadata:\n  labels: {tomoul.ai/jurisdictions: EU}\n",
    )
    result = run(files)
    assert result.exit_code == 1
    assert (
        "ModelDeployment models/tiny-chat: spec.regions[1].name: Region `us-east` is in jurisdiction `US`"
        in result.stderr
    )
    assert "tiny-solo" not in result.stderr


def test_a_resource_that_two_files_declare_is_an_error(files: Path) -> None:
    shutil.copy(files / "tiny-solo.yaml", files / "tiny-zolo.yaml")
    result = run(files)
    assert result.exit_code == 1
    assert "is declared twice, first in" in result.stderr
    assert "tiny-solo.yaml; remove one of them" in result.stderr


def test_a_model_without_a_namespace_goes_where_kubectl_would_put_it(files: Path) -> None:
    edit(files / "tiny-solo.yaml", "  namespace: models\n", "")
    assert "default/tiny-solo-eu-west-" in run(files).stdout


def test_a_file_that_is_no_text_is_an_error_and_not_a_crash(files: Path) -> None:
    (files / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    result = run(files)
    assert result.exit_code == 1
    assert "binary.yaml: document 1: is not UTF-8" in result.stderr


def test_a_folder_without_manifests_is_an_error_and_not_nothing_to_do(tmp_path: Path) -> None:
    result = run(tmp_path, "--against", EXAMPLES)
    assert result.exit_code == 1
    assert f"error: {tmp_path}: holds no file that ends in `.yaml`, `.yml`, `.json`\n" in result.stderr
    assert "remove" not in result.stdout


def test_json_in_a_folder_is_read_as_kubectl_does(tmp_path: Path) -> None:
    region = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": "eu-west"}, "spec": {}}
    (tmp_path / "region.json").write_text(json.dumps(region, indent="\t"))
    assert "+ RoutingTable        eu-west" in run(tmp_path).stdout


@pytest.mark.parametrize("text", ["a: &a\n  b: *a\n", f"a: {'[' * 3000}\n"])
def test_a_file_that_has_no_end_is_an_error_and_not_a_crash(tmp_path: Path, text: str) -> None:
    (tmp_path / "endless.yaml").write_text(
        f"apiVersion: tomoul.ai/v1alpha1\nkind: Region\nmetadata: {{name: a}}\n{text}"
    )
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "endless.yaml: document 1:" in result.stderr
    assert "is nested too deep" in result.stderr


def test_gpus_of_a_model_that_scales_are_shown_from_the_fewest_to_the_most(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "replicas: 2", "scaling: {minReplicas: 1, maxReplicas: 5, targetInFlight: 8}")
    result = run(files, "--against", EXAMPLES)
    assert "GPUs nvidia-l4: 4 → 3..7" in result.stdout
    assert "GPUs in all regions, nvidia-l4: 6 → 5..9" in result.stdout
    assert "+ HorizontalPodAutoscaler models/tiny-chat-eu-west" in " ".join(result.stdout.split())


def test_that_the_last_pod_may_go_is_a_change_though_no_object_tells_it(files: Path, tmp_path: Path) -> None:
    edit(files / "tiny-chat.yaml", "replicas: 2", "scaling: {minReplicas: 1, maxReplicas: 5, targetInFlight: 8}")
    before = Path(shutil.copytree(files, tmp_path / "before"))
    edit(files / "tiny-chat.yaml", "minReplicas: 1", "minReplicas: 0")
    words = "may have no pod while nobody calls"
    for output in ("text", "json", "markdown"):
        result = run(files, "--against", before, "--output", output)
        assert (result.exit_code, words in result.stdout) == (2, True)
    assert json.loads(run(files, "--against", before, "--output", "json").stdout)["changes"] is True


def test_what_was_wrong_before_does_not_keep_from_planning_the_files_that_mend_it(files: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(files, tmp_path / "broken"))
    edit(broken / "tiny-solo.yaml", "drainSeconds", "drainSecond")
    result = run(files, "--against", broken)
    assert result.exit_code == 2
    assert "warning: --against: " in result.stderr
    assert "spec.rollout.drainSecond: is unknown; did you mean `drainSeconds`?; taken as if it were not there" in (
        result.stderr
    )
    assert "+ Deployment          models/tiny-solo-eu-west-" in result.stdout


def test_of_two_models_with_one_id_the_one_that_was_there_before_keeps_it(files: Path) -> None:
    new = (files / "tiny-solo.yaml").read_text().replace("name: tiny-solo\n", "name: another\n")
    (files / "another.yaml").write_text(new)
    result = run(files, "--against", EXAMPLES)
    assert result.exit_code == 1
    assert (
        "ModelDeployment models/another: spec.model.id: `tomoul/tiny-solo` is served in region `eu-west` by"
        in result.stderr
    )
    assert "ModelDeployment tiny-solo" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_standard_input_is_a_file_for_either_side(files: Path, mark: bytes) -> None:
    text = mark + b"\n---\n".join(file.read_bytes() for file in sorted(EXAMPLES.glob("*.yaml")))
    assert run("-", "--against", EXAMPLES, stdin=text).stdout == "Nothing to do.\n"
    edit(files / "tiny-chat.yaml", "replicas: 2", "replicas: 3")
    assert "spec.replicas: 2 → 3" in run(files, "--against", "-", stdin=text).stdout
    wrong = run("-", stdin=text.replace(b"drainSeconds", b"drainSecond"))
    assert "standard input: document" in wrong.stderr
    assert run("-", "--against", "-", stdin=text).exit_code == 1


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n---\n", "null\n"])
def test_a_file_without_any_object_is_an_error_as_kubectl_has_it(text: str) -> None:
    result = run("-", "--against", EXAMPLES, stdin=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: standard input: there is no object in it" in result.stderr


@pytest.mark.parametrize(("encoding", "arrow"), [("ascii", "→"), ("latin-1", "?"), ("utf-8", "→")])
def test_a_terminal_of_any_encoding_shows_what_it_can(files: Path, encoding: str, arrow: str) -> None:
    edit(files / "tiny-chat.yaml", "replicas: 2", "replicas: 3")
    command = [sys.executable, "-m", "tomoul", "plan", "--auth", "None", str(files), "--against", str(EXAMPLES)]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (result.returncode, result.stderr) == (2, b"")
    assert f"spec.replicas: 2 {arrow} 3" in result.stdout.decode("utf-8" if encoding == "ascii" else encoding)


def test_a_link_to_what_is_not_there_is_an_error_and_not_passed_over(files: Path) -> None:
    (files / "gone.yaml").symlink_to(files / "nothing.yaml")
    result = run(files, "--against", EXAMPLES)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{files / 'gone.yaml'}: No such file or directory" in result.stderr


def test_a_file_that_is_named_beside_its_folder_is_read_once(files: Path) -> None:
    assert run(files, files / "tiny-solo.yaml", "--against", EXAMPLES).stdout == "Nothing to do.\n"


def test_a_folder_for_kustomize_is_said_not_to_be_rendered(files: Path) -> None:
    (files / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [regions.yaml]\n"
    )
    assert f"`kubectl kustomize {files} | tomoul plan -` is" in run(files).stderr


def test_gateways_in_another_namespace_are_planned_there() -> None:
    result = run(EXAMPLES, "--namespace", "inference")
    assert "+ Deployment          inference/tomoul-gateway-eu-west" in result.stdout
    assert "tomoul-system" not in result.stdout


def test_what_lets_gateways_read_keys_is_planned_once_for_all_regions(files: Path) -> None:
    edit(files / "tenant.yaml", "secretName: demo-keys", "secretName: other-keys")
    result = run(files, "--against", EXAMPLES, auth="Required")
    assert "every region\n  ~ Role                models/tomoul-gateway-keys\n" in result.stdout
    assert "! secret models/other-keys: gateways may read it\n" in result.stdout
    assert "! tenant models/demo in eu-west and us-east: its keys are those of Secret `other-keys`" in result.stdout
    answer = json.loads(run(files, "--against", EXAMPLES, "--output", "json", auth="Required").stdout)
    assert [(each["kind"], each["name"]) for each in answer["objects"]] == [("Role", "tomoul-gateway-keys")]


def test_a_comment_for_a_pull_request_has_what_is_noticed_first_and_the_details_folded(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "jsonMode: true", "jsonMode: false")
    result = run(files, "--against", EXAMPLES, "--output", "markdown")
    assert result.exit_code == 2
    head, _, details = result.stdout.partition("<details><summary>")
    assert head.startswith("### tomoul plan: changes\n")
    assert "| ⚠️ | `tomoul/tiny-chat` | eu-west, us-east | refuses calls with JSON mode |" in head
    assert "| nvidia-l4 | 6 | 6 |" in head
    assert "```diff\n@@ eu-west @@\n! route               tomoul/tiny-chat\n" in details


def test_a_comment_says_why_the_files_are_refused_and_that_there_is_nothing_to_do(files: Path) -> None:
    assert run(EXAMPLES, "--against", EXAMPLES, "--output", "markdown").stdout == "### tomoul plan: nothing to do\n\n"
    edit(files / "tiny-chat.yaml", "drainSeconds", "drainSecond")
    result = run(files, "--against", EXAMPLES, "--output", "markdown")
    assert result.exit_code == 1
    assert result.stdout.startswith("### tomoul plan: refused\n\n```text\nerror: ")


def test_a_pipe_in_a_folder_is_not_waited_for(files: Path) -> None:
    os.mkfifo(files / "pipe.yaml")
    assert run(files, "--against", EXAMPLES).exit_code == 0


def test_a_tab_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "tab.yaml").write_text("kind: Region\nmetadata:\n\tname: a\n")
    message = (
        "tab.yaml: document 1: is not valid YAML in line 3, column 1: found character '\\t' that cannot start any token"
    )
    assert f"{message}: YAML is indented by spaces, never by tabs\n" in run(tmp_path).stderr


def test_a_name_that_the_api_server_would_make_up_cannot_be_applied() -> None:
    text = "apiVersion: tomoul.ai/v1alpha1\nkind: Region\nmetadata: {generateName: eu-}\nspec: {}\n"
    assert "metadata.name: is required: `generateName` cannot be applied, only created\n" in run("-", stdin=text).stderr


def test_a_list_of_one_kind_is_read_as_a_list_of_any() -> None:
    head = {"apiVersion": "tomoul.ai/v1alpha1", "kind": "Region", "metadata": {"name": "eu-west"}, "spec": {}}
    text = json.dumps({"apiVersion": "tomoul.ai/v1alpha1", "kind": "RegionList", "items": [head]})
    assert "+ RoutingTable        eu-west" in run("-", stdin=text).stdout


def test_custom_resource_definitions_that_cannot_be_written_are_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["crds", "--output", str(tmp_path / "file" / "crds")])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {tmp_path / 'file' / 'crds'}: Not a directory\n"


def test_aliases_that_would_make_a_hundred_million_values_are_an_error_at_once() -> None:
    lines = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 9)]
    text = "\n".join(["apiVersion: tomoul.ai/v1alpha1", "kind: Region", "a0: &a0 [x]", *lines])
    result = run("-", stdin=text)
    assert result.exit_code == 1
    assert "standard input: document 1: has aliases such as `*name` that make more than 1000000 values" in result.stderr


def test_aliases_and_merges_that_mean_something_are_read(files: Path) -> None:
    edit(files / "tiny-chat.yaml", "- name: eu-west\n", "- &pool\n      name: eu-west\n")
    edit(
        files / "tiny-chat.yaml",
        "- name: us-east\n      replicas: 1\n      noStoreReplicas: 1",
        "- {<<: *pool, name: us-east, replicas: 1}",
    )
    assert run(files, "--against", EXAMPLES).stdout == "Nothing to do.\n"
