"""What a workflow that fell out of a worker's cache costs to get back: its history replayed."""

import time
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from review.payloads import converter
from tests.bench.figures import Figure
from workflows.publication import PublicationWorkflow
from workflows.submission import SubmissionWorkflow

HISTORIES = Path(__file__).parents[1] / "replay" / "histories"


async def bench(*, times: int = 3) -> list[Figure]:
    """Replay the recorded submissions, each a few times; quote the least processor time of each."""
    replayer = Replayer(
        workflows=[SubmissionWorkflow, PublicationWorkflow], data_converter=converter({})
    )
    figures = []
    for file in sorted(HISTORIES.glob("*-submission*.json")):
        history = WorkflowHistory.from_json(file.stem, file.read_text(encoding="utf-8"))
        size = sum(len(event.SerializeToString()) for event in history.events)
        await replayer.replay_workflow(history)
        taken = []
        for _ in range(times):
            began = time.process_time()
            await replayer.replay_workflow(history)
            taken.append((time.process_time() - began) * 1000)
        events = len(history.events)
        figures.append(
            Figure(
                f"replay of {file.stem}",
                f"{min(taken):.1f} ms of processor, {events} events, {size} bytes",
                numbers={
                    "of": "replay", "x": events, "replay_ms": round(min(taken), 2), "size": size
                },
            )
        )  # fmt: skip
    return figures
