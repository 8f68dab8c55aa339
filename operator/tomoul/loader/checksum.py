"""Checksums: whether the bytes on the volume are those at the source, by what the source says of them.

* `sha256:<hex>`: Hugging Face's large files, OCI blobs, `SHA256SUMS` in a bucket.
* `git-sha1:<hex>`: Hugging Face's small files, which git holds as blobs: SHA-1 of `blob <size>\\0` and the bytes.
* `md5:<hex>`: the ETag of an S3 object that was uploaded in one piece.
* `md5-parts:<hex>-<parts>`: the ETag of one that was uploaded in parts: MD5 of the parts' MD5s
  (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html). The ETag does not tell
  the parts' size, so those that uploaders use are tried.
"""

import hashlib
from pathlib import Path

_MIB = 1024 * 1024
_PART_MIB = (5, 6, 8, 10, 15, 16, 20, 24, 25, 32, 40, 48, 50, 64, 80, 96, 100, 128, 160, 200, 250, 256, 500, 512, 1024)


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has that checksum; ValueError for an unknown algorithm."""
    algorithm, _, wanted = checksum.partition(":")
    if algorithm in ("sha256", "md5"):
        with path.open("rb") as file:
            return (
                hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest() == wanted
            )
    if algorithm == "git-sha1":
        blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while piece := file.read(_MIB):
                blob.update(piece)
        return blob.hexdigest() == wanted
    if algorithm == "md5-parts":
        digest, _, parts = wanted.partition("-")
        return any(_of_parts(path, size) == digest for size in part_sizes(path.stat().st_size, int(parts)))
    raise ValueError(f"unknown checksum `{checksum}`")


def doubt(checksum: str) -> str:
    """Why a checksum may be wrong rather than the bytes, in words that continue a sentence; empty where it cannot."""
    if not checksum.startswith("md5"):
        return ""
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html: of such objects it still has 32 digits.
    return "; an ETag is no checksum where KMS or a key of your own encrypts the object: put a `SHA256SUMS` beside it"


def part_sizes(size: int, parts: int) -> tuple[int, ...]:
    """Sizes of parts, in bytes, that uploaders use and that make `parts` of `size` bytes."""
    return tuple(mib * _MIB for mib in _PART_MIB if max(-(-size // (mib * _MIB)), 1) == parts)


def _of_parts(path: Path, part_size: int) -> str:
    whole = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while True:
            part, left = hashlib.md5(usedforsecurity=False), part_size
            while left and (piece := file.read(min(_MIB, left))):
                part.update(piece)
                left -= len(piece)
            if left == part_size:
                return whole.hexdigest()
            whole.update(part.digest())
