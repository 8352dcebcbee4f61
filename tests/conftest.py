"""Settings shared by all tests: one thread everywhere, and shape annotations checked where they are written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

install_import_hook(["infossl.objectives.terms", "infossl.quantities.geometry"], "beartype.beartype")

torch.set_num_threads(1)
_blas = threadpool_limits(1, user_api="blas")  # two test processes on two cores would fight over them


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow: run with --slow, or `make slow`")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20230303)
