"""Where things are: URLs, images, artifacts, buckets, paths. Each message says what would be right."""

from typing import Annotated

from pydantic import Field

from tomoul.api.certificates import are_certificates
from tomoul.api.names import WORD
from tomoul.api.rules import Check, form

_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


def is_relative(path: str) -> bool:
    """Whether a path neither starts at the root nor climbs out of its folder."""
    return not path.startswith("/") and ".." not in path.split("/")


Image = Annotated[
    str,
    Field(min_length=1, max_length=512),
    form(
        "[A-Za-z0-9][A-Za-z0-9._:@-]*(/[A-Za-z0-9][A-Za-z0-9._:@-]*)*",
        "must be an image without a scheme or spaces, such as `registry.example.com/vllm-openai:v0.32.0`",
    ),
]

HttpPath = Annotated[
    str,
    Field(min_length=1, max_length=256),
    form("/[A-Za-z0-9._~/-]*", "must be a path without a query, such as `/health`"),
]

RelativePath = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Check(
        "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
        "must be a relative path without `..`, such as `models/phi-4`",
        is_relative,
    ),
]

AbsolutePath = Annotated[
    str,
    Field(min_length=2, max_length=512),
    Check(
        "self.startsWith('/') && !self.split('/').exists(part, part == '..')",
        "must be an absolute path without `..`, such as `/models/phi-4.gguf`",
        lambda path: path.startswith("/") and is_relative(path[1:]),
    ),
]


def _base_url(example: str) -> Check:
    host = rf"({WORD}|\[[0-9a-fA-F:.]+\])(:{_PORT})?"
    return form(
        f"https?://{host}",
        "must be `https://` (or `http://` within a trusted network), a host and perhaps a port, without a path, "
        f"such as `{example}`",
    )


GatewayUrl = Annotated[str, Field(max_length=512), _base_url("https://eu-west.api.example.com")]

StoreUrl = Annotated[str, Field(max_length=512), _base_url("https://minio.example.com:9000")]

_OCI_PART = "[a-z0-9]+([._-]+[a-z0-9]+)*"
OciReference = Annotated[
    str,
    Field(min_length=1, max_length=512),
    form(
        rf"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:{_PORT})?/{_OCI_PART}(/{_OCI_PART})*"
        r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})",
        "must be a registry's host, a repository, and a tag or a SHA-256 digest, without `https://`, such as "
        "`registry.example.com/models/phi-4:v1`",
    ),
]

BucketName = Annotated[
    str,
    Field(min_length=3, max_length=63),
    form("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "must be a bucket: lower-case letters, digits, inner `-` and `.`"),
]

CaBundle = Annotated[
    str,
    Field(max_length=16384),
    Check(
        "self.contains('-----BEGIN CERTIFICATE-----') && self.contains('-----END CERTIFICATE-----')",
        "must hold PEM certificates, each from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`",
        are_certificates,
    ),
]
