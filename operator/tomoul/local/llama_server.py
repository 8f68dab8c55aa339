"""llama.cpp's server from a wheel, under the flags of `llama-server`; entrypoint of the image tomoul/cpu-engine too.

It imports nothing but the standard library and xllamacpp, takes the flags that Tomoul renders plus a few for tuning,
and refuses any other: a flag that is silently ignored could be a promise that is silently broken. On SIGTERM or
SIGINT, calls that run may finish; a second signal, or the grace time, ends them.
"""

import argparse
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import xllamacpp  # type: ignore[import-untyped]

GRACE_SECONDS = 60.0
POLL_SECONDS = 0.05
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
REMOTE_FLAGS = ("-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-hft", "--hf-token", "-mu", "--model-url")
RUNNING = re.compile(r"^llamacpp:requests_(?:processing|deferred) (\d+)", re.MULTILINE)


class Parser(argparse.ArgumentParser):
    """llama-server's flags; of a flag that is given twice the last counts."""

    def __init__(self) -> None:
        super().__init__(
            prog="llama-server", usage="%(prog)s --model FILE [flag …]", description=__doc__, allow_abbrev=False
        )
        switch = argparse.BooleanOptionalAction
        self.add_argument("-m", "--model", type=Path, required=True, help="GGUF file")
        self.add_argument("-a", "--alias", default="", help="model id that the server answers with")
        self.add_argument("--lora-scaled", type=_adapters, default=(), help="LoRA adapters, as FILE:SCALE,FILE:SCALE")
        self.add_argument("--host", default="127.0.0.1", help="address to listen on")
        self.add_argument("--port", type=int, default=8080, help="port to listen on, 0 for any")
        self.add_argument("-c", "--ctx-size", type=int, default=0, help="context in tokens, over all slots; 0: model's")
        self.add_argument("-np", "--parallel", type=int, default=-1, help="slots, each for one call at a time")
        self.add_argument("-n", "--predict", "--n-predict", type=int, default=-1, help="tokens per answer, -1: any")
        self.add_argument("-b", "--batch-size", type=int, default=2048, help="logical batch size")
        self.add_argument("-ub", "--ubatch-size", type=int, default=512, help="physical batch size")
        self.add_argument("-t", "--threads", type=int, default=-1, help="threads that compute; -1: one per core")
        self.add_argument("--threads-http", type=int, default=-1, help="threads that serve HTTP")
        self.add_argument("-s", "--seed", type=int, default=-1, help="seed of calls that name none; -1: random")
        self.add_argument("--jinja", action=switch, default=True, help="use the model's chat template")
        self.add_argument("--cache-prompt", action=switch, default=True, help="reuse the prompts that slots hold")
        self.add_argument("-cram", "--cache-ram", type=int, default=8192, help="prompt cache beside the slots, in MiB")
        self.add_argument("--cache-idle-slots", action=switch, default=True, help="move idle slots into that cache")
        self.add_argument("--slots", action=switch, default=True, help="serve /slots")
        self.add_argument("--metrics", action="store_true", help="accepted; /metrics is always served")
        self.add_argument("--warmup", action=switch, default=True, help="run once before the first call")
        self.add_argument("--verbosity", type=int, default=1, help="1 errors, 2 warnings, 3 information, 4 debugging")
        self.add_argument(*REMOTE_FLAGS, dest="remote", action=_Refuse, help="not possible: give --model a local file")


def _adapters(text: str) -> list[tuple[Path, float]]:
    found = []
    for part in text.split(","):
        path, _, scale = part.rpartition(":")
        try:
            found.append((Path(path), float(scale)))
        except ValueError:
            raise argparse.ArgumentTypeError(f"`{part}` is not FILE:SCALE") from None
    return found


class _Refuse(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        parser.error(f"{option}: this server downloads nothing; put the GGUF file in place and name it by --model")


def parameters(argv: Sequence[str]) -> xllamacpp.CommonParams:
    """What llama.cpp is started with. Ends the process with status 2 and a message if the flags are wrong."""
    parser = Parser()
    flags = parser.parse_args(argv)
    if not flags.model.is_file():
        parser.error(f"--model {flags.model}: no such file")
    for file, _ in flags.lora_scaled:
        if not file.is_file():
            parser.error(f"--lora-scaled {file}: no such file")
    params = xllamacpp.CommonParams()
    params.model.path = str(flags.model)
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(file), scale) for file, scale in flags.lora_scaled]
    if flags.alias:
        params.model_alias = set(flags.alias.split(","))
    params.hostnames = [flags.host]
    params.port = flags.port
    params.n_ctx = flags.ctx_size
    params.n_parallel = flags.parallel
    params.n_predict = flags.predict
    params.n_batch = flags.batch_size
    params.n_ubatch = flags.ubatch_size
    params.cpuparams.n_threads = flags.threads
    params.cpuparams_batch.n_threads = flags.threads
    params.n_threads_http = flags.threads_http
    params.sampling.seed = flags.seed % 2**32
    params.use_jinja = flags.jinja
    params.cache_prompt = flags.cache_prompt
    params.cache_ram_mib = flags.cache_ram
    params.cache_idle_slots = flags.cache_idle_slots
    params.endpoint_slots = flags.slots
    params.endpoint_metrics = True  # a graceful end needs to know how many calls run
    params.warmup = flags.warmup
    params.verbosity = flags.verbosity
    params.ui = False
    return params


def running_calls(metrics: str) -> int:
    """Calls in work or in the queue, by llama.cpp's own metrics."""
    return sum(int(count) for count in RUNNING.findall(metrics))


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    params = parameters(sys.argv[1:])
    # llama.cpp sets handlers that cut calls off; no signal may arrive before they are replaced.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(f"llama-server: {error}")
    stop, now = threading.Event(), threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        (now if stop.is_set() else stop).set()

    for number in STOP_SIGNALS:
        signal.signal(number, on_signal)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    print(f"llama-server: serving on {server.listening_address}", file=sys.stderr, flush=True)  # noqa: T201
    stop.wait()
    deadline = time.monotonic() + GRACE_SECONDS
    idle = 0
    # Idle twice in a row: a call's last bytes leave a moment after its slot is free.
    while idle < 2 and time.monotonic() < deadline and not now.wait(POLL_SECONDS):
        idle = 0 if running_calls(_text(server.handle_metrics())) else idle + 1
    # llama.cpp's own clean-up waits for the idle connections that a gateway keeps open; there is nothing to save.
    os._exit(0)


def _text(metrics: str | bytes) -> str:
    return metrics.decode() if isinstance(metrics, bytes) else metrics


if __name__ == "__main__":
    main()
