"""The one entry of every stage: params, logging, lock, model, errors, and what the run cost.

Plumbing: nothing here may change a result, which is why no stage lists this file in its deps.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import gc
import hashlib
import importlib
import inspect
import json
import logging
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from cai.artifacts.table import write_text
from cai.errors import CaiError, ParamsError
from cai.llm.model import Model
from cai.params import Asks, Section, check, read_yaml

log = logging.getLogger("cai")
P = TypeVar("P", bound=Section)


class Price(Section):
    """What a model's tokens cost, in US dollars per million, and who says so; null: not known."""

    prompt: float | None = Field(ge=0)
    completion: float | None = Field(ge=0)
    source: str | None


class Servers(Section):
    """How OpenAI-compatible servers are talked to. It changes cost and speed, never a result."""

    concurrency: int = Field(ge=1)
    timeout_seconds: float = Field(gt=0)
    max_retries: int = Field(ge=0)
    allow_insecure: bool
    batch: bool
    prices: dict[str, Price]


class Budget(Section):
    """What servers may cost one run: a dvc command with all its stages, or a stage started alone; null: no limit."""

    usd: float | None = Field(ge=0)


def work_folder(root: Path) -> Path:
    """``.work`` of the main repository, which DVC_ROOT names also inside `dvc exp run --temp`: experiments share it."""
    return Path(os.environ.get("DVC_ROOT", str(root))).resolve() / ".work"


def run_name() -> str:
    """The same for every stage that one dvc command starts, another for the next command: (process, its start).

    Where no dvc is among the ancestors, or the system has no /proc, this process itself is the run.
    """
    found, pid = os.getpid(), os.getpid()
    with contextlib.suppress(OSError, ValueError, IndexError):
        while pid > 1:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:3]
            if any(os.path.basename(word) == b"dvc" for word in words):
                found = pid
            pid = int(_status(pid)[1])
    try:
        return f"{found}-{_status(found)[19]}"
    except (OSError, IndexError):
        return f"{found}-{_STARTED}"


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: [1] is the parent, [19] the start in ticks since boot."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


_STARTED = int(time.time())


class Run:
    """Where a stage runs and with what: handed to every stage's main."""

    def __init__(
        self, stage: str, item: str | None, root: Path, servers: Servers, budget_usd: float | None = None
    ) -> None:
        self.stage, self.item, self.root, self.servers, self.budget_usd = stage, item, root, servers, budget_usd
        self.work = work_folder(root)
        self.models: list[str] = []
        self._opened: list[Model] = []

    def open_model(self, section: Asks) -> Model:
        """The model that a section of params.yaml names, opened by its backend."""
        adapter = importlib.import_module(f"cai.llm.{section.backend}")
        options: dict[str, Any] = {}
        if section.backend == "openai":
            account = self.work / "spending" / f"{run_name()}.json"
            options = self.servers.model_dump() | {"budget_usd": self.budget_usd, "account": account}
        model: Model = adapter.open_model(
            section.model,
            root=self.root,
            work=self.work,
            base_url=section.base_url,
            batch_size=section.batch_size,
            precision=section.precision,
            show=self.progress(),
            **options,
        )
        self.models.append(model.name)
        self._opened.append(model)
        return model

    def cost(self) -> dict[str, float]:
        """What the models were asked and cost so far, summed over those opened; empty for models in this process."""
        total: dict[str, float] = {}
        for model in self._opened:
            for name, value in getattr(model, "cost", {}).items():
                total[name] = round(total.get(name, 0) + value, 6)
        return dict(sorted(total.items()))

    def progress(self, what: str = "rows") -> Progress:
        """A callable (done, total) that shows a bar on a terminal and a line every 30 s elsewhere."""
        return Progress(self.stage if self.item is None else f"{self.stage}@{self.item}", what)

    def metrics(self, content: dict[str, Any], name: str | None = None) -> None:
        """Write metrics/<stage>.json: small, sorted as given, in Git. Ids and numbers, never texts."""
        path = self.root / "metrics" / f"{name or self.stage}.json"
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


class Progress:
    """Shows how far a stage has come, on stderr: a bar on a terminal, otherwise one line per 30 s."""

    def __init__(self, stage: str, what: str) -> None:
        self.stage, self.what = stage, what
        self.started = self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        rate = done / max(now - self.started, 1e-9)
        left = (total - done) / rate if rate > 0 else 0.0
        words = f"{self.stage} {done:,}/{total:,} {rate:.1f} {self.what}/s eta {int(left // 60)}m{int(left % 60):02d}s"
        if sys.stderr.isatty():
            width = 24
            filled = width * done // max(total, 1)
            end = "\n" if done >= total else ""
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (width - filled)}] {words}{end}")
            sys.stderr.flush()
        elif now - self.said >= 30:
            self.said = now
            log.info(words)


def sections() -> dict[str, Any]:
    """Every top-level key of params.yaml with its declared type, collected from the stages that read them."""
    found: dict[str, Any] = {"servers": Servers, "budget": Budget}
    package = importlib.import_module("stages")
    for module in pkgutil.iter_modules(package.__path__):
        declared = getattr(importlib.import_module(f"stages.{module.name}"), "Params", None)
        if declared is not None:
            for key, field in declared.model_fields.items():
                found[key] = field.annotation
    return found


def load(kind: type[P], root: Path, work: Path) -> tuple[P, Servers, Budget]:
    """The sections a stage reads, after the whole of params.yaml was checked.

    A check needs the declarations of all stages, a second of imports. One that found nothing wrong is therefore
    remembered under ``work/checked``, by the content of the file and of all code.

    Raises:
        ParamsError: with every violation in the file, not only this stage's.
    """
    content = read_yaml(root / "params.yaml")
    seen = work / "checked" / _digest(root / "params.yaml", *sorted(_code()))
    if not seen.is_file():
        check(content, sections(), "params.yaml")
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()
    chosen = kind.model_validate({key: content[key] for key in kind.model_fields})
    return chosen, Servers.model_validate(content["servers"]), Budget.model_validate(content["budget"])


def _code() -> Iterator[Path]:
    for name in ("cai", "stages"):
        for folder in importlib.import_module(name).__path__:
            yield from Path(folder).rglob("*.py")


def _digest(*files: Path) -> str:
    """A name for the content of files, the libraries' releases aside: those change no declaration of ours."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:32]


def run(main: Callable[..., None], *, items: tuple[str, ...] = ()) -> None:
    """Run one stage from the command line and exit: 0 when done, 1 with one clear message otherwise.

    ``main(params, run)`` or, for a stage over items (``answer base``), ``main(params, run, item)``.
    """
    _set_up_logging()
    # At the end nothing is left to look for: visiting all that torch and its like made takes one to two seconds.
    atexit.register(gc.freeze)
    stage = Path(inspect.getfile(main)).stem
    item = sys.argv[1] if items and len(sys.argv) > 1 else None
    try:
        if items and item not in items:
            raise ParamsError(f"python -m stages.{stage}", "which one?", got=item, expected=", ".join(items))
        _run(main, stage, item)
    except CaiError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "cai", "stages"):
            raise
        sys.exit(
            f"error: {stage}: this interpreter lacks {package}; got {sys.executable}; expected the project's .venv; "
            'next: run "source .venv/bin/activate", or "make repro"'
        )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        got = ", ".join(str(part) for part in (error.strerror, error.filename) if part)
        sys.exit(
            f"error: {stage}: the disk did not take it; got {got}; expected a place with room that may be written; "
            "next: free space or mend its permissions, then run again"
        )


def _run(main: Callable[..., None], stage: str, item: str | None) -> None:
    root = Path.cwd()
    kind = inspect.get_annotations(main, eval_str=True)["params"]
    chosen, servers, budget = load(kind, root, work_folder(root))
    context = Run(stage, item, root, servers, budget.usd)
    name = stage if item is None else f"{stage}@{item}"
    started, cpu = time.monotonic(), time.process_time()
    with _alone(context.work, name):
        log.info("%s starts", name)
        ended = "failed"
        try:
            main(chosen, context, *([item] if item is not None else []))
            ended = "done"
        finally:
            _record(context, name, ended, time.monotonic() - started, time.process_time() - cpu)


def _record(context: Run, name: str, ended: str, seconds: float, cpu_seconds: float) -> None:
    """What the run cost, also a failed one: into the work directory and the last line of the log, never a metric."""
    cost = context.cost()
    record = {
        "stage": name,
        "outcome": ended,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "models": context.models,
        "cost": cost,
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "python": platform.python_version(),
    }
    if ended == "done" or cost:
        write_text(context.work / "runs" / f"{name}.json", json.dumps(record, indent=2) + "\n")
    log.info("%s %s in %.1f s%s", name, ended, seconds, _in_words(cost))


def _in_words(cost: dict[str, float]) -> str:
    if not cost:
        return ""
    tokens = cost.get("prompt_tokens", 0) + cost.get("completion_tokens", 0)
    said = [f"{cost.get(f'n_{what}', 0):,.0f} {what}" for what in ("calls", "hits", "retries", "failed")]
    money = f"{cost['usd']:.4f} USD" if "usd" in cost else "price not known"
    return f"; {', '.join(said)}; {tokens:,.0f} tokens, {money}"


@contextlib.contextmanager
def _alone(work: Path, name: str) -> Iterator[None]:
    """Hold the stage's lock: a killed dvc leaves its child running, and a new repro must not race it."""
    path = work / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s waits: another process runs this stage", name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
