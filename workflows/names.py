"""What the outside holds on to: the queue, and how workflows are named (contract)."""

TASK_QUEUE = "sanshen"


def matter_workflow_id(kind: str, matter_id: str) -> str:
    """Return `supervision-{id}`, `incident-{id}` or `violation-{id}`."""
    return f"{kind}-{matter_id}"


def submission_workflow_id(submission: str) -> str:
    return f"submission-{submission}"


def bulletin_workflow_id(period: str) -> str:
    return f"bulletin-{period}"
