"""Interleaved rounds: every subject gets its turn in every round, so that what else the machine does hits all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.gateway.bodies import API_KEY
from benchmarks.gateway.cases import JUDGED_CONNECTIONS, STREAM_CHUNKS, Case, all_cases
from benchmarks.gateway.child import LoadGenerator
from benchmarks.gateway.effort import Effort
from benchmarks.gateway.load import Job, Outcome

DIRECT = "direct"
PLAIN = "plain Envoy"
_TOO_SLOW = 3


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    name: str
    port: int
    pids: Sequence[int]
    """Its processes; none for no proxy at all."""
    models: Sequence[str]
    """What requests name, in turn."""
    is_peer: bool = False


@dataclass(frozen=True)
class Sample:
    """One outcome."""

    case: Case
    subject: str
    round: int
    outcome: Outcome


async def measure(
    subjects: Sequence[Subject], load: LoadGenerator, effort: Effort, tell: Callable[[str], None]
) -> list[Sample]:
    """All samples. Raises RuntimeError for a request that failed at one that is no peer: there is no figure then."""
    samples = []
    for case in all_cases():
        tell(f"{case.kind}, {case.connections} connections")
        taking_part = [subject for subject in subjects if case.for_peers or not subject.is_peer]
        for round_ in range(effort.rounds):
            shift = round_ % len(taking_part)
            for subject in taking_part[shift:] + taking_part[:shift]:
                job = _job(case, subject, effort)
                outcome = await load.run(job)
                if subject.is_peer and outcome.seconds > _TOO_SLOW * job.seconds:
                    taking_part.remove(subject)  # one round of it has to do
                if outcome.failed and not subject.is_peer:
                    raise RuntimeError(f"{subject.name}, {case.kind}: {outcome.failed} failed: {outcome.problem}")
                samples.append(Sample(case, subject.name, round_, outcome))
    return samples


def _job(case: Case, subject: Subject, effort: Effort) -> Job:
    is_judged_stream = case.chunks == STREAM_CHUNKS and case.connections == JUDGED_CONNECTIONS
    return Job(
        port=subject.port,
        models=subject.models,
        size=case.size_kb * 1024,
        connections=case.connections,
        # A stream of 200 chunks takes a second whatever proxy there is.
        seconds=effort.stream_seconds if is_judged_stream else effort.seconds,
        requests=effort.requests,
        chunks=case.chunks,
        pids=subject.pids,
        headers=[f"authorization: Bearer {API_KEY}"],
    )
