"""What the outside holds on to: the queue, and how workflows are named (contract)."""

TASK_QUEUE = "sanshen"


def submission_workflow_id(submission: str) -> str:
    return f"submission-{submission}"
