"""How many items are in which state, counted as they change: a board that counts anew grows."""

from sqlmodel import Field, SQLModel


class SubmissionTally(SQLModel, table=True):
    """The items of a unit and a status; kept by the database's own triggers on `submission`.

    A migration that makes the table `submission` anew must make its triggers anew too; a test of
    the whole chain of migrations looks.
    """

    __tablename__ = "submission_tally"

    status: str = Field(primary_key=True)
    unit_id: str = Field(primary_key=True)
    items: int
