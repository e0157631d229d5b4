"""A real JupyterLab to drive: its server in a subprocess, its page in Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import nbformat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, Locator, Page

REPOSITORY = Path(__file__).resolve().parents[2]
ARTIFACTS = Path(__file__).with_name(".artifacts")
PATIENCE_MS = 60_000

# No news, no update checks; every cell is in the page, whether in sight or not.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}

NOTEBOOK = "jupyterapp.shell.currentWidget"
CELL = NOTEBOOK + ".content.widgets[index]"


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a JupyterLab of our own, isolated in `folder`, and end it afterwards."""
    root = folder / "notebooks"
    root.mkdir()
    token, port = secrets.token_hex(16), _free_port()
    ARTIFACTS.mkdir(exist_ok=True)
    with (ARTIFACTS / "jupyterlab.log").open("wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *_options(root, token, port)],
            cwd=root,
            env=_environment(folder),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            server = Server(f"http://127.0.0.1:{port}", token, root, started)
            server.wait_until_ready()
            yield server
        finally:
            _end(started)


class Server:
    """The server's address, and how to ask it something."""

    def __init__(self, url: str, token: str, root: Path, started: subprocess.Popen[bytes]) -> None:
        self.url, self.token, self.root, self._started = url, token, root, started

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(  # noqa: S310  # our own loopback address
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return json.loads(response.read() or b"null")

    def wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < give_up_at:
            if self._started.poll() is not None:
                break
            with contextlib.suppress(urllib.error.URLError, OSError):
                self.ask("/api/status")
                return
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start; see {ARTIFACTS / 'jupyterlab.log'}")


class Lab:
    """JupyterLab in a browser: opens notebooks, one page each."""

    def __init__(self, server: Server, browser: Browser) -> None:
        self.server, self._browser = server, browser
        self._opened: list[LabNotebook] = []

    def open(self, cells: Sequence[str], name: str | None = None) -> LabNotebook:
        """Open a new notebook with these code cells and wait for its kernel."""
        name = name or f"case-{secrets.token_hex(4)}.ipynb"
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.server.root / name)
        page = self._browser.new_page(
            viewport={"width": 1280, "height": 900}, device_scale_factor=2
        )
        opened = LabNotebook(page, self.server, name)
        self._opened.append(opened)
        opened.load()
        return opened

    def close(self) -> None:
        """Shut down the kernels and close the pages that were opened here."""
        while self._opened:
            self._opened.pop().close()


class LabNotebook:
    """One notebook in JupyterLab: run it, look at it, read its outputs."""

    def __init__(self, page: Page, server: Server, name: str) -> None:
        self.page, self._server, self.name = page, server, name
        page.set_default_timeout(PATIENCE_MS)

    def load(self) -> None:
        """Open the page (again) and wait until the notebook's kernel is idle."""
        address = f"{self._server.url}/lab/tree/{self.name}?reset&token={self._server.token}"
        self.page.goto(address)
        self.page.wait_for_function(
            f"() => window.jupyterapp && {NOTEBOOK}?.content?.widgets?.length"
            f" && {NOTEBOOK}.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def execute(self, command: str, **args: Any) -> None:
        """Run a JupyterLab command, without waiting for what it starts."""
        self.page.evaluate(
            "([name, args]) => { jupyterapp.commands.execute(name, args) }", [command, args]
        )

    def run_all(self) -> None:
        self.execute("notebook:run-all-cells")

    def run(self, index: int) -> None:
        """Start one cell; returns at once."""
        self.page.evaluate(
            f"index => {{ {NOTEBOOK}.content.deselectAll();"
            f" {NOTEBOOK}.content.activeCellIndex = index }}",
            index,
        )
        self.execute("notebook:run-cell")

    def wait_for_run(self, index: int, timeout: float = PATIENCE_MS) -> None:
        """Wait until a started cell has ended, well or not (milliseconds)."""
        self.page.wait_for_function(
            f"index => {CELL}.model.executionCount !== null"
            f" && !{CELL}.inputArea.promptNode.textContent.includes('*')",
            arg=index,
            timeout=timeout,
        )

    def run_and_wait(self, index: int, timeout: float = PATIENCE_MS) -> None:
        self.run(index)
        # Until the kernel takes it, a cell that ran before still shows its old number.
        with contextlib.suppress(Exception):
            self.page.wait_for_function(
                f"index => {CELL}.inputArea.promptNode.textContent.includes('*')",
                arg=index,
                timeout=300,
            )
        self.wait_for_run(index, timeout)

    def interrupt(self) -> None:
        self.execute("notebook:interrupt-kernel")

    def restart(self) -> None:
        """Restart the kernel (no dialog) and wait for it."""
        self.page.evaluate(f"() => {NOTEBOOK}.sessionContext.session.kernel.restart()")

    def save(self) -> nbformat.NotebookNode:
        """Save, and return the notebook as it is on disk."""
        self.page.evaluate(f"() => {NOTEBOOK}.context.save()")
        return nbformat.read(self._server.root / self.name, as_version=4)

    def theme(self, tone: Literal["light", "dark"]) -> None:
        """Change the theme live and wait until its colours are there."""
        name = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}[tone]
        self.execute("apputils:change-theme", theme=name)
        is_light = "true" if tone == "light" else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{is_light}']", state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def source(self, index: int, text: str) -> None:
        """Replace a cell's code."""
        self.page.evaluate(
            f"([index, text]) => {{ {CELL}.model.sharedModel.setSource(text) }}", [index, text]
        )

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """The outputs of a cell as nbformat would save them."""
        found: list[dict[str, Any]] = self.page.evaluate(
            f"index => {CELL}.model.outputs.toJSON()", index
        )
        return found

    def text(self, index: int) -> str:
        """The words that a reader sees in a cell's output area."""
        return self.output(index).inner_text()

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        return self.cell(index).locator(".jp-Cell-outputArea")

    def panel(self, index: int | None = None) -> Locator:
        """The live panel, of one cell or the first of the page."""
        return (self.page if index is None else self.cell(index)).locator(".gpt-magics").first

    def screenshot(self, what: Locator | None, name: str) -> Path:
        """Keep a picture of an element (or of the page) in tests/browser/.artifacts/."""
        path = ARTIFACTS / f"{name}.png"
        if what is None:
            self.page.screenshot(path=path)
        else:
            what.screenshot(path=path)
        if folder := os.environ.get("GPT_MAGICS_PICTURES"):
            shutil.copyfile(path, Path(folder) / path.name)
        return path

    def close(self) -> None:
        """Shut the kernel down and close the page; the file stays."""
        for session in self._server.ask("/api/sessions"):
            if session["path"] == self.name:
                self._server.ask(f"/api/sessions/{session['id']}", "DELETE")
        self.page.close()


def _options(root: Path, token: str, port: int) -> list[str]:
    return [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={token}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None",
    ]


def _environment(folder: Path) -> dict[str, str]:
    """The user's settings, keys and journal stay out of the test, and the test out of them."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "GPT_MAGICS_"))}
    settings = folder / "settings"
    for name, value in SETTINGS.items():
        path = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    own = {
        "HOME": "home",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "share",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "share",
        "XDG_STATE_HOME": "state",
    }
    paths = [str(REPOSITORY), env.get("PYTHONPATH", "")]
    return {
        **env,
        **{name: str(folder / part) for name, part in own.items()},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(started: subprocess.Popen[bytes]) -> None:
    """End the server, which ends its kernels; insist only within its own process group."""
    started.terminate()
    try:
        started.wait(timeout=10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait(timeout=10)
