"""Options that the commands which talk to an API server have in common."""

from functools import partial

import click
from kubernetes.aio.config import ConfigException

option = partial(click.option, show_envvar=True, show_default=True)
"""An option whose help names its environment variable and its default."""

kubeconfig_option = option(
    "--kubeconfig",
    envvar="TOMOUL_KUBECONFIG",
    type=click.Path(exists=True, dir_okay=False),
    help="kubeconfig file; in a pod the pod's own ServiceAccount is used.",
)

log_format_option = option(
    "--log-format", envvar="TOMOUL_LOG_FORMAT", type=click.Choice(["json", "text"]), default="json"
)


def no_api_server(error: ConfigException) -> click.ClickException:
    """What a person is told where no API server is configured."""
    return click.ClickException(f"no API server is configured: {error}; run in a pod or name a --kubeconfig")
