"""One plausible study, rendered once for all tests."""

from pathlib import Path

import pytest

import reports
from tests.reports.fixture import write_study


@pytest.fixture(scope="session")
def study_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def rendered(study_directory: Path) -> dict[str, Path]:
    return reports.render(study_directory)


@pytest.fixture(scope="session")
def findings(study_directory: Path):
    return reports.read(study_directory)
