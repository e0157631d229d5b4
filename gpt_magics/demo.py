"""The quickstart, run or opened against a sandbox on this machine: no key, no network, no cost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gpt_magics.errors import OptionError
from gpt_magics.sandbox import Sandbox

_FOLDER = Path("gpt-magics-demo")
_NOTEBOOK = "quickstart.ipynb"
# Limits that a new account could have, with a bucket that is nearly empty: the pacing shows.
_LIMITS: dict[str, Any] = {
    "rpm": 1200,
    "tpm": 200_000,
    "fill": 0.05,
    "latency": 0.3,
    "jitter": 0.5,
    "error_rate": 0.02,
    "seed": 7,
}
# A model on this machine's processor writes about 80 tokens a second: a sample, few at once.
_FOR_LOCAL_MODEL = {
    "--max-tokens 60": "--max-tokens 40 --limit 24 --max-in-flight 4 --timeout 120",
    "--limit 30": "--limit 6 --max-in-flight 4 --timeout 120",
}
_POLL_SECONDS = 0.25
_CELL_SECONDS = 300


def run_demo(*, local_model: bool = False) -> int:
    """Run the quickstart in a real kernel; print answers, limits and spend. 0 if all was well."""
    _need("nbclient", "ipykernel", "pandas")
    import nbformat  # noqa: PLC0415 - an extra

    folder = unpack()
    path = folder / _NOTEBOOK
    notebook = nbformat.read(path, as_version=4)
    with _sandbox(local_model=local_model) as box:
        limits = f"{_LIMITS['rpm']:,} RPM, {_LIMITS['tpm']:,} TPM"
        print(f"A sandbox answers at {box.url}: {limits}, no cost.")
        if local_model:
            _shorten(notebook)
        failed = _execute(notebook, folder, box)
        stats = box.stats()
    nbformat.write(notebook, path)
    for tag in ("answers", "limits"):
        print(f"\n— {tag} —\n{_tagged_output(notebook, tag)}")
    print(f"\nServer's count: {_count(stats)}")
    if failed:
        print(f"\nA cell failed: {failed}", file=sys.stderr)
        return 1
    command = _command()
    print(
        f"\nThe notebook with its outputs: {path}\n"
        f"Open it:         {command} lab\n"
        f"With a real key: put OPENAI_API_KEY=… into the environment or a .env file, then "
        f"{command} lab --real"
    )
    return 0


def run_lab(*, local_model: bool = False, real: bool = False, browser: bool = True) -> int:
    """Open the quickstart in JupyterLab, with a sandbox beside it unless ``real``."""
    _need("jupyterlab")
    folder = unpack()
    arguments = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    arguments += [f"--LabApp.default_url=/lab/tree/{_NOTEBOOK}"]
    if not browser:
        arguments.append("--no-browser")
    if os.name == "posix" and os.geteuid() == 0:
        arguments.append("--allow-root")
    if real:
        return _run_until_told(arguments, dict(os.environ))
    with _sandbox(local_model=local_model) as box:
        print(f"A sandbox answers at {box.url}; nothing leaves this machine.")
        return _run_until_told(arguments, _environment(box))


def _run_until_told(arguments: list[str], environment: dict[str, str]) -> int:
    """Run a program; when this one is told to end, the other ends first."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    with subprocess.Popen(arguments, env=environment) as running:  # noqa: S603 - our interpreter
        try:
            return running.wait()
        except KeyboardInterrupt:
            running.terminate()
            return running.wait()
        finally:
            signal.signal(signal.SIGTERM, before)


def unpack() -> Path:
    """The quickstart and its data in a folder of the user's, copied if it is not there yet."""
    source = _notebooks()
    try:
        _FOLDER.mkdir(exist_ok=True)
        for path in source.iterdir():
            target = _FOLDER / path.name
            if path.is_file() and not target.exists():
                shutil.copyfile(path, target)
    except OSError as error:
        raise OptionError(
            f"Cannot write to {_FOLDER.absolute()}: {error.strerror}. Run it in another directory."
        ) from None
    return _FOLDER


def _notebooks() -> Path:
    """The notebooks that came with the package; in a checkout they stand beside it."""
    here = Path(__file__).parent
    for folder in (here / "notebooks", here.parent / "notebooks"):
        if (folder / _NOTEBOOK).exists():
            return folder
    raise OptionError("The quickstart notebook is missing; install gpt-magics again.")


@contextmanager
def _sandbox(*, local_model: bool) -> Iterator[Sandbox]:
    limits = {**_LIMITS, "latency": 0.0} if local_model else _LIMITS
    with Sandbox(**limits, local_model=local_model) as box:
        yield box


def _shorten(notebook: Any) -> None:
    for cell in notebook.cells:
        for options, fewer in _FOR_LOCAL_MODEL.items():
            if fewer not in cell.source:  # as a demo before this one may have left it
                cell.source = cell.source.replace(options, fewer)


def _environment(box: Sandbox) -> dict[str, str]:
    """The environment for a kernel: the sandbox's address and key, never the user's own."""
    own = {"OPENAI_ORG_ID": "", "OPENAI_PROJECT_ID": ""}
    return {**os.environ, **own, "OPENAI_BASE_URL": box.url, "OPENAI_API_KEY": box.key}


def _execute(notebook: Any, folder: Path, box: Sandbox) -> str:
    """Run every cell, with a line of progress; what failed, or nothing."""
    from nbclient import NotebookClient  # noqa: PLC0415 - an extra
    from nbclient.exceptions import CellExecutionError, CellTimeoutError  # noqa: PLC0415

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ended = threading.Event()
    client = NotebookClient(
        notebook,
        timeout=_CELL_SECONDS,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    with tqdm(total=len(cells), unit="cell", desc="quickstart.ipynb") as line:
        client.on_cell_executed = lambda **_: line.update()
        watcher = threading.Thread(target=_watch, args=(box, line, ended), daemon=True)
        watcher.start()
        try:
            client.execute(env=_environment(box))
        except CellExecutionError as error:
            return str(error)
        except CellTimeoutError:
            return f"it took longer than {_CELL_SECONDS} s"
        finally:
            ended.set()
            watcher.join()
    return ""


def _watch(box: Sandbox, line: tqdm[Any], ended: threading.Event) -> None:
    while not ended.wait(_POLL_SECONDS):
        line.set_postfix_str(_count(box.stats()))


def _count(stats: dict[str, Any]) -> str:
    refused = sum(stats["refused"].values())
    return f"{stats['answered']} answered, {refused} refused, {stats['errors']} failed at random"


def _tagged_output(notebook: Any, tag: str) -> str:
    outputs = [
        output
        for cell in notebook.cells
        if tag in cell.metadata.get("tags", ())
        for output in cell.get("outputs", ())
    ]
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in outputs]
    return "\n".join(text.rstrip() for text in texts if text)


def _need(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise OptionError(f"{', '.join(missing)} is missing. Run: pip install 'gpt-magics[demo]'")


def _command() -> str:
    """How this program was called, so that the next line can be copied."""
    called = Path(sys.argv[0])
    try:
        return str(called.relative_to(Path.cwd()))
    except ValueError:
        return "gpt-magics" if shutil.which("gpt-magics") == str(called) else str(called)
