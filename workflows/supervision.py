"""One supervision order (督办单) from its issue to its closing."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from review.rules.matters import MatterPosition, MatterRef
from workflows.minding import Minding


@workflow.defn
class SupervisionWorkflow(Minding):
    """Take a turn, wait for news or for the next mark, until the matter is over."""

    @workflow.init
    def __init__(self, ref: MatterRef) -> None:
        super().__init__(ref)

    @workflow.run
    async def run(self, ref: MatterRef) -> MatterPosition:
        return await self._mind(ref)
