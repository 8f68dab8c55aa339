import hashlib
from pathlib import Path

import gguf
import pytest

from tomoul.local.models import NotLocalError, local_file
from tomoul.local.tiny_gguf import BYTES, SPECIAL, vocabulary, write_tiny_gguf


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_equal_seeds_give_equal_models_and_others_differ(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_tiny_gguf(tmp_path / name, seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_the_model_is_half_a_megabyte_with_a_token_for_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "tiny.gguf"
    write_tiny_gguf(path)
    assert 300_000 < path.stat().st_size < 700_000
    reader = gguf.GGUFReader(path)
    assert reader.fields["tokenizer.ggml.tokens"].contents() == vocabulary()
    assert len(set(vocabulary())) == BYTES + len(SPECIAL)
    assert list(path.parent.iterdir()) == [path], "nothing unfinished is left"


def test_a_missing_tiny_gguf_is_made_and_then_found(tmp_path: Path) -> None:
    made = local_file("/models/tiny.gguf", tmp_path)
    before = made.stat().st_mtime_ns
    assert local_file("/models/tiny.gguf", tmp_path) == made
    assert made.stat().st_mtime_ns == before


def test_a_file_in_the_models_folder_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "phi.gguf").write_bytes(b"GGUF")
    assert local_file("/models/phi.gguf", tmp_path) == tmp_path / "phi.gguf"


def test_a_file_that_is_nowhere_is_refused_with_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(
        NotLocalError, match=rf"`/models/phi.gguf` is not on this machine; put the file into {tmp_path}"
    ):
        local_file("/models/phi.gguf", tmp_path)
