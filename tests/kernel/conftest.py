from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from kernels import Kernel, configure
from traitlets.config import Config

from gpt_magics import api, configuration
from gpt_magics.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kernels import Open

AMPLE = 600_000


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A new session and configuration; no key, no address and no .env of the user's."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "GPT_MAGICS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    api.close()
    configuration.reset()
    yield
    api.close()
    configuration.reset()


@pytest.fixture
def sandbox() -> Iterator[Open]:
    """Open sandboxes; their limits are reported and hard to meet unless a test says otherwise."""
    opened: list[Sandbox] = []

    def open_one(**options: Any) -> Sandbox:
        opened.append(Sandbox(**{"rpm": AMPLE, **options}).start())
        return opened[-1]

    yield open_one
    api.close()
    for box in opened:
        box.close()


@pytest.fixture
def bare_shell() -> Iterator[InteractiveShell]:
    """An IPython in this process, without a kernel: what a terminal has."""
    InteractiveShell.clear_instance()
    quiet = Config(
        {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}}
    )
    made = InteractiveShell.instance(config=quiet)
    # Newer IPythons register their own magics at first use: not what a test is to wonder about.
    getattr(made.magics_manager, "load_all_lazy_magics", list)()
    yield made
    made.run_line_magic("unload_ext", "gpt_magics")
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def box(sandbox: Open) -> Sandbox:
    return sandbox()


@pytest.fixture
def shell(bare_shell: InteractiveShell, box: Sandbox) -> InteractiveShell:
    """The same with the extension loaded and a sandbox to talk to."""
    bare_shell.run_line_magic("load_ext", "gpt_magics")
    configure(bare_shell.run_cell, box)
    return bare_shell


@pytest.fixture(scope="session")
def one_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    made = Kernel(tmp_path_factory.mktemp("kernel"))
    yield made
    made.close()


@pytest.fixture
def kernel(one_kernel: Kernel) -> Iterator[Kernel]:
    """The kernel of all tests, emptied and with the extension freshly loaded."""
    one_kernel.run("%reset -f")
    cell = one_kernel.run("%load_ext gpt_magics")
    assert (cell.error, cell.errors, cell.text) == ("", "", "")
    yield one_kernel
    one_kernel.run("%unload_ext gpt_magics")
