"""One thin file a stage: read artifacts, call cai, write artifacts. Stages never import each other."""

import importlib.util
import sys

# dvc runs `python`: whichever comes first on PATH. Say so in words instead of an ImportError in the middle.
_missing = [name for name in ("polars", "pydantic", "yaml") if importlib.util.find_spec(name) is None]
if _missing:
    sys.exit(
        f"stages: this interpreter lacks {', '.join(_missing)}; got {sys.executable}; expected the project's .venv; "
        'next: run "source .venv/bin/activate", or "make repro"'
    )
