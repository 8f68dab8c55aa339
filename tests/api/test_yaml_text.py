"""Words without quotes, as `tomoul plan` and `kubectl apply` read them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.controlplane.programs import program
from tomoul.api.yamltext import YamlError, documents

NUMBERS = """
    1e3 1E3 1.0e+3 1.e3 .5 5. 1.0 1.5 1e-1 1_000 1_0.5 010 0o10 0x1F 0b11 08 09.5 1:30 190:20:30 0.32 1.10 1e400
    1234567e1 +1 -1 +.5 -.5 -0 -010 -0x1 -0b1 -0o7 1__0 _1 1_ 0_7 0o_7 1_e3 1.5_0 0x 0xg . + 1e 1e+ 123456789012345678
"""
BOOLEANS = "y Y n N yes Yes YES yES no No NO on On ON off Off OFF true True TRUE tRUE false oN"
OTHERS = "~ null Null NULL nULL = 2026-11-26 2026-11-26T00:00:00Z v1 main"
WORDS = f"{NUMBERS} {BOOLEANS} {OTHERS}".split()


def test_every_word_means_to_plan_what_it_means_to_kubectl(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    fields = "".join(f"  word{index}: {word}\n" for index, word in enumerate(WORDS))
    file.write_text(f"apiVersion: example.com/v1\nkind: Words\nmetadata: {{name: words}}\nspec:\n{fields}")
    command = [str(program("kubectl")), "patch", "--local", "--type=merge", "--patch={}", "--output=json"]
    done = subprocess.run([*command, f"--filename={file}"], capture_output=True, text=True, check=True)
    (document,) = documents(file.read_text())
    # As JSON, in which 1 and true differ.
    kubectl = json.loads(done.stdout)["spec"]
    assert isinstance(document, dict)
    told = {word: json.dumps(kubectl.get(f"word{index}")) for index, word in enumerate(WORDS)}
    assert {word: json.dumps(document["spec"].get(f"word{index}")) for index, word in enumerate(WORDS)} == told


def test_a_template_that_nobody_rendered_is_told_what_it_is() -> None:
    with pytest.raises(YamlError, match=r"line 1, column 6: a key must be a text: render a template's"):
        list(documents("id: {{ .Values.id }}\n"))


def test_json_is_read_with_tabs_and_whole_numbers_as_such_and_without_repeated_names() -> None:
    assert list(documents('{\n\t"a": [1.0, 1.5, 1e3, "y"]\n}\n')) == [{"a": [1, 1.5, 1000, "y"]}]
    with pytest.raises(YamlError, match="`a` is given twice"):
        list(documents('{"b": {"a": 1, "a": 2}}'))


@pytest.mark.parametrize(
    "value",
    ["!!timestamp 2026-11-26", "!!binary aGk=", "!!set {a}", "!!python/name:os.system", "!!int one", "9" * 5000],
)
def test_what_json_does_not_have_is_an_error_and_not_a_crash(value: str) -> None:
    with pytest.raises(YamlError, match="is not valid YAML"):
        list(documents(f"a: {value}\n"))
