"""Draining: the hook that keeps SIGTERM from an engine until its calls have ended, or their time is over.

Engines differ in what they do at SIGTERM, and some break off what runs. An engine's own gauges lag behind by a step,
and so miss the call whose prompt it is reading. The kernel knows better: gateways close a connection to an engine 3 s
after its last call, so that what is established once they have withdrawn the pod is a call. Whoever else holds one,
such as a scraper, makes the hook wait for its full time. All that it needs of the image is what the startup probe
needs: bash.
"""

from tomoul.plan.engines.base import GROUP_PORT, PORT

WITHDRAWAL_SECONDS = 5
"""How long a pod that ends may still get calls, and gateways keep connections to it that have none."""

_SCRIPT = """\
sleep "$2"
# Where nothing is known of calls, all their time is theirs.
[[ -r /proc/net/tcp ]] || exec sleep "$3"
end=$((SECONDS + $3 + 1))
# Local address, remote address, and the state of what is established.
call=":$1 [0-9A-F]+:[0-9A-F]+ 01 "
while ((SECONDS < end)); do
  # As a whole: by lines, bash would have the kernel begin anew at each.
  [[ $(</proc/net/tcp) =~ $call || $(</proc/net/tcp6) =~ $call ]] || exit 0
  sleep 1
done
"""


_FOLLOW = """\
[[ -r /proc/net/tcp ]] || exec sleep "$2"
end=$((SECONDS + $2))
leader="[0-9A-F]+:[0-9A-F]+ [0-9A-F]+:$1 01 "
while ((SECONDS < end)); do
  [[ $(</proc/net/tcp) =~ $leader || $(</proc/net/tcp6) =~ $leader ]] || exit 0
  sleep 1
done
"""


def follow_command(drain_seconds: int, port: int = GROUP_PORT) -> list[str]:
    """Command for a worker, that ends once its leader has, which drains its calls; by then these must have ended.

    A worker keeps a connection to `port` of its leader. By name it could not be found any more: the name's Service may
    have gone, or mean the leader of the next revision.
    """
    return ["bash", "-c", _FOLLOW, "follow", f"{port:04X}", str(WITHDRAWAL_SECONDS + drain_seconds)]


def drain_command(drain_seconds: int, port: int = PORT, withdrawal_seconds: int = WITHDRAWAL_SECONDS) -> list[str]:
    """Command that ends once no connection to `port` is established, at the latest `drain_seconds` after withdrawal."""
    return ["bash", "-c", _SCRIPT, "drain", f"{port:04X}", str(withdrawal_seconds), str(drain_seconds)]
