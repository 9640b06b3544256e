"""Says how many examples each test tries, for `make faults`."""

import pytest


@pytest.fixture(autouse=True)
def _tried(request: pytest.FixtureRequest, record_property) -> None:
    settings = getattr(request.function, "_hypothesis_internal_use_settings", None)
    if settings is not None:
        record_property("tried", settings.max_examples)
