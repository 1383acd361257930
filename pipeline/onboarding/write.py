"""A plan to files: problem.yaml, data.py, features.py and a test, all there or nothing.

The templates beside this module hold the wording; only what they cannot compute is made here.
"""

import shutil
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.config import read_yaml
from core.schema import ProblemSpec
from pipeline.onboarding import in_code, in_yaml
from pipeline.onboarding.plan import Plan


@contextmanager
def written(plan: Plan, root: Path) -> Iterator[Path]:
    """root/NAME, written. When what is done with it raises, it is as before: absent, or what stood there."""
    folder = root / plan.name
    with tempfile.TemporaryDirectory(dir=root, prefix=".onboarding-") as made:
        draft, before = Path(made) / "new", Path(made) / "old"
        for name, text in files(plan).items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(text, encoding="utf-8")
        read_yaml(draft / "problem.yaml", ProblemSpec)
        if folder.exists():
            folder.rename(before)
        draft.rename(folder)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder)
            if before.exists():
                before.rename(folder)
            raise


def files(plan: Plan) -> dict[str, str]:
    """Path below the problem's folder -> content."""
    about = {"plan": plan, "rhythm": plan.rhythm, "time": plan.time}
    return {
        "__init__.py": f'"""{_in_docstring(in_yaml.question(plan))}"""\n',
        "problem.yaml": _render("problem.yaml.j2", about | in_yaml.content(plan)),
        "data.py": _render("data.py.j2", about | in_code.of_data(plan)),
        "features.py": _render("features.py.j2", about | in_code.of_features(plan)),
        f"tests/test_{plan.name}.py": _render("test.py.j2", about),
    }


def _render(template: str, content: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "y": in_yaml.flow,
        "py": in_code.literal,
        "wrap": _in_docstring,
    }
    return environment.get_template(template).render(content)


def _in_docstring(text: str) -> str:
    """Wrapped, and without what would end a docstring or be an escape in it."""
    return textwrap.fill(text.replace("\\", "/").replace('"', "'"), in_code.WIDTH - 6)
