"""The same request twice: the first answer again, and no second effect (contract, Repeats)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, update

from review.records.tables import IdempotencyKey
from review.rules.errors import KeyReusedError
from review.rules.submissions import canonical, sha256

Answer = dict[str, Any]


def request_hash(what: str, body: BaseModel) -> str:
    """Return the digest of a request's meaning: what it asks for and with which body."""
    return sha256(canonical({"what": what, "body": body.model_dump(mode="json")}))


def once(
    session: Session,
    person_id: str,
    key: str | None,
    hash_: str,
    now: datetime,
    act: Callable[[], Answer],
) -> Answer:
    """Do an act, or give the first answer to its key.

    Raises:
        KeyReusedError: The key came before with another body.
    """
    if key is None:
        return act()
    first = session.get(IdempotencyKey, (person_id, key))
    if first is not None:
        if first.request_hash != hash_:
            raise KeyReusedError
        return first.answer
    row = IdempotencyKey(person_id=person_id, key=key, request_hash=hash_, status=200, at=now)
    if not add_once(session, row):  # the same key, at the same moment
        return once(session, person_id, key, hash_, now, act)
    answer = act()
    session.exec(
        update(IdempotencyKey)
        .where(col(IdempotencyKey.person_id) == person_id)
        .where(col(IdempotencyKey.key) == key)
        .values(answer=answer)
    )
    return answer


def add_once(session: Session, row: SQLModel) -> bool:
    """Add a row unless its key is there, and tell; waits for another who is just adding it."""
    table = SQLModel.metadata.tables[str(row.__tablename__)]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(row.model_dump()).on_conflict_do_nothing()
    added = session.connection().execute(statement.returning(*table.primary_key))
    return added.first() is not None
