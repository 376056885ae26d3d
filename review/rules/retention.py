"""What passes between the engine and a retention run (A-29): counts alone."""

from review.rules.values import Value


class RetentionTurn(Value):
    """Asks for a run."""


class RetentionResult(Value):
    """What a run did."""

    removed: int = 0
    files: int = 0
    pruned: int = 0
    reported: int = 0
