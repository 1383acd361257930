"""Settings and their documentation."""

import re

import pytest

from core.config import PREFIX, ROOT, Settings, settings
from core.errors import ConfigError


def test_env_example_documents_every_setting_and_nothing_else() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented = re.findall(rf"^#?({PREFIX}[A-Z_]+)=", text, flags=re.MULTILINE)
    assert sorted(documented) == sorted(PREFIX + name.upper() for name in Settings.model_fields)


def test_a_misspelt_setting_is_an_error_that_names_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_MLFLOW_ULR", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="LOOP_MLFLOW_ULR is not a setting; did you mean LOOP_MLFLOW_URL"):
        settings()
