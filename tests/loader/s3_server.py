"""A real implementation of S3's protocol: moto's server, in an environment of its own."""

import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from uuid import uuid4

from tests.clients.environments import python


class Keys(NamedTuple):
    """What a client of it signs its calls with."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    """Empty for keys that last."""


class S3Server:
    """It lets everybody do everything until `only_with_keys`."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def put(self, path: str, data: bytes = b"") -> None:
        """A bucket, or an object as `bucket/key`."""
        self._call(f"/{path}", data, "PUT")

    def only_with_keys(self, *, session: bool = False) -> Keys:
        """From now on it checks each call's signature. Returns keys that may read all buckets.

        They are a user's, or with `session` those that somebody got for a while, as a pod does by its identity.
        """
        allowed = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
        name = f"loader-{uuid4()}"
        if session:
            self._aws("iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=allowed)
            self._aws("iam", "PutRolePolicy", RoleName=name, PolicyName="all", PolicyDocument=allowed)
            role = f"arn:aws:iam::123456789012:role/{name}"
            told = self._aws("sts", "AssumeRole", RoleArn=role, RoleSessionName="pod")
        else:
            self._aws("iam", "CreateUser", UserName=name)
            self._aws("iam", "PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=allowed)
            told = self._aws("iam", "CreateAccessKey", UserName=name)
        self._call("/moto-api/reset-auth", b"0")
        return Keys(*(_element(told, each) for each in ("AccessKeyId", "SecretAccessKey", "SessionToken")))

    def for_everybody(self) -> None:
        """As it was in the beginning."""
        self._call("/moto-api/reset-auth", b"inf")

    def _aws(self, service: str, action: str, **fields: str) -> str:
        form = urllib.parse.urlencode({"Action": action, **fields}).encode()
        # By this it knows which of AWS' services is meant.
        scope = {"Authorization": f"AWS4-HMAC-SHA256 Credential=any/20261101/us-east-1/{service}/aws4_request"}
        return self._call("/", form, "POST", {**scope, "Content-Type": "application/x-www-form-urlencoded"})

    def _call(self, path: str, data: bytes, method: str = "POST", headers: Mapping[str, str] | None = None) -> str:
        told = {"Content-Type": "application/octet-stream", **(headers or {})}
        request = urllib.request.Request(self.endpoint + path, data=data, method=method, headers=told)
        with urllib.request.urlopen(request) as answer:
            return str(answer.read().decode())


def _element(xml: str, name: str) -> str:
    return "".join(re.findall(f"<{name}>(.*?)</{name}>", xml)[:1])


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run one at a free port of an address of this machine."""
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
    command = [str(python("moto")), "-m", "moto.server", "-H", address, "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection((address, port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "moto ended"
                assert time.monotonic() < deadline, "moto does not listen"
                time.sleep(0.1)
        yield S3Server(f"http://{address}:{port}")
    finally:
        process.kill()
        process.wait()
