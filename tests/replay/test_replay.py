"""Every course ever recorded replays on today's workflows: what waits for months goes on."""

import gc
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from review.payloads import converter
from review.rules.matters import MatterPosition, MatterRef
from review.rules.positions import Position, SubmissionRef
from review.rules.publications import PublicationOutcome, PublicationRef
from workflows.nudges import MATTERS as MINDING
from workflows.publication import PublicationWorkflow
from workflows.submission import SubmissionWorkflow
from workflows.supervision import SupervisionWorkflow

HISTORIES = sorted(Path(__file__).with_name("histories").glob("*.json"))


def recorded(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(file.stem, file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def replayer() -> Replayer:
    return Replayer(
        workflows=[SubmissionWorkflow, PublicationWorkflow, *MINDING.values()],
        data_converter=converter({}),
    )


def test_every_course_has_a_history():
    from tests.replay.record import COURSES, MATTERS

    assert {file.name.partition("-")[0] for file in HISTORIES} >= set(COURSES) | set(MATTERS)
    assert len(COURSES) >= 12


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: file.stem)
async def test_recorded_history_replays(replayer: Replayer, file: Path):
    await replayer.replay_workflow(recorded(file))


@workflow.defn(name="SubmissionWorkflow")
class Reordered(SubmissionWorkflow):
    """A change that would break what is under way: it waits a moment before its first turn."""

    @workflow.init
    def __init__(self, ref: SubmissionRef) -> None:
        super().__init__(ref)

    @workflow.run
    async def run(self, ref: SubmissionRef) -> Position:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(ref)


@workflow.defn(name="PublicationWorkflow")
class Doubled(PublicationWorkflow):
    """Another such change: it publishes, then publishes again."""

    @workflow.init
    def __init__(self, ref: PublicationRef) -> None:
        super().__init__(ref)

    @workflow.run
    async def run(self, ref: PublicationRef) -> PublicationOutcome:
        await super().run(ref)
        return await super().run(ref)


@workflow.defn(name="SupervisionWorkflow")
class Unminded(SupervisionWorkflow):
    """And one of an order's: it takes its first turn twice."""

    @workflow.init
    def __init__(self, ref: MatterRef) -> None:
        super().__init__(ref)

    @workflow.run
    async def run(self, ref: MatterRef) -> MatterPosition:
        await self._turn(ref)
        return await super().run(ref)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "name",
    [
        "work_news-submission-run1",
        "work_news-publication-site-1-run1",
        "order_lapsed_and_repeated-supervision-run1",
    ],
)
async def test_changed_order_of_commands_is_noticed(name: str):
    """Otherwise the replays above would prove nothing."""
    replayer = Replayer(
        workflows=[Reordered, Doubled, Unminded],
        data_converter=converter({}),
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    file = next(file for file in HISTORIES if file.stem == name)

    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(recorded(file))
    gc.collect()  # the SDK leaves the failed run's coroutine behind, which complains at its end
