"""One place for all tests; a test that changed it puts it back."""

from collections.abc import Iterator

import pytest

from tests.attack_http.place import Place


@pytest.fixture(scope="session")
def whole_place(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: bytes
) -> Iterator[Place]:
    path = tmp_path_factory.mktemp("place") / "ledger.db"
    path.write_bytes(sqlite_template)
    found = Place(path)
    yield found
    found.close()


@pytest.fixture
def place(whole_place: Place) -> Place:
    """The place as it was at first."""
    whole_place.back()
    return whole_place
