"""First call: the startup probe of an engine, which passes once the engine has really answered.

An engine's health path tells that its server runs, not that it generates. So the kubelet makes one small completion in
the engine's own container: again after each restart, never again once it was answered, and without the operator, whose
absence must not keep an engine from serving. All that it needs of the image is bash, for its `/dev/tcp`.
"""

import json

from tomoul.plan.engines.base import PORT
from tomoul.plan.listening import ALL_IPV4

_SCRIPT = """\
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'POST /v1/chat/completions HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nContent-Type: application/json\\r\\n' >&3
printf 'Content-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s' "${#2}" "$2" >&3
IFS= read -r -d '' answer <&3
[[ $answer == 'HTTP/1.1 200 '*'"choices"'* ]] || { echo "${answer:0:1000}"; exit 1; }
"""


def first_call(model_id: str, port: int = PORT, listen_address: str = ALL_IPV4) -> list[str]:
    """Command that ends with 0 if the engine on `port` completes a chat, else with 1 and what it answered."""
    body = {"model": model_id, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
    # As ASCII, so that bash counts bytes in every locale.
    # Where the name has addresses of both families bash tries each.
    script = _SCRIPT if listen_address == ALL_IPV4 else _SCRIPT.replace("/dev/tcp/127.0.0.1/", "/dev/tcp/localhost/")
    return ["bash", "-c", script, "first-call", str(port), json.dumps(body)]
