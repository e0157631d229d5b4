"""Loading costs milliseconds; unloading and reloading leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from statistics import median
from typing import TYPE_CHECKING, Any

from waiting import eventually

from gpt_magics import configuration

if TYPE_CHECKING:
    import pytest
    from IPython.core.interactiveshell import InteractiveShell

MAGICS = {"gpt", "gpt_batch", "gpt_limits"}
LOAD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
began = time.process_time()
shell.run_line_magic("load_ext", "gpt_magics")
seconds = time.process_time() - began
news = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps([seconds, news]))
"""
HEAVY = {
    "openai", "httpx2", "aiohttp", "pydantic", "genai_prices", "tenacity", "asyncio",
    "pandas", "ipywidgets", "anywidget", "tqdm", "dotenv", "sqlite3",
}  # fmt: skip


def test_loading_takes_milliseconds_and_imports_nothing_heavy() -> None:
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True, timeout=60
        )
        runs.append(json.loads(done.stdout))
    assert median(seconds for seconds, _ in runs) < 0.1
    assert not HEAVY & set(runs[0][1])
    assert "gpt_magics" in runs[0][1]


def test_a_plain_import_costs_even_less() -> None:
    code = "import sys, gpt_magics; print('IPython' in sys.modules, 'openai' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False False\n"


def traces(shell: InteractiveShell) -> dict[str, Any]:
    """Everything that an extension could leave in a shell."""
    # A closed loop's threads for looking up hosts end by themselves.
    eventually(lambda: not any("asyncio" in thread.name for thread in threading.enumerate()))
    magics = shell.magics_manager
    return {
        "magics": {kind: sorted(table) for kind, table in magics.magics.items()},
        "registry": sorted(magics.registry),
        "configurables": sorted(type(thing).__name__ for thing in shell.configurables),
        "transformers": len(shell.input_transformers_cleanup),
        "post transformers": len(shell.input_transformers_post),
        "ast transformers": len(shell.ast_transformers),
        "matchers": len(shell.Completer.custom_matchers) if shell.Completer else 0,
        "events": {name: len(calls) for name, calls in shell.events.callbacks.items()},
        "custom errors": shell.custom_exceptions,
        "threads": sorted(t.name for t in threading.enumerate() if "sandbox" not in t.name),
    }


def use(shell: InteractiveShell) -> None:
    """Leave behind all that use can leave."""
    shell.run_cell("%gpt hello")
    shell.run_cell("job = %gpt_batch ['a', 'b'] '{text}' --into answers --background")
    shell.run_cell("job = %gpt_batch ['a', 'b'] '{text}' --into others")


def test_unloading_takes_everything_back(bare_shell: InteractiveShell) -> None:
    before = traces(bare_shell)
    bare_shell.run_line_magic("load_ext", "gpt_magics")
    assert set(traces(bare_shell)["magics"]["line"]) >= MAGICS
    bare_shell.run_line_magic("unload_ext", "gpt_magics")
    assert traces(bare_shell) == before


def test_unloading_after_use_takes_everything_back(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_line_magic("unload_ext", "gpt_magics")
    before = traces(shell)
    shell.run_line_magic("load_ext", "gpt_magics")
    shell.run_cell("import gpt_magics")
    shell.run_line_magic("unload_ext", "gpt_magics")
    assert traces(shell) == before
    assert "Traceback" not in capsys.readouterr().out


def test_reloading_leaves_no_duplicates(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    once = traces(shell)
    for _ in range(3):
        use(shell)
        shell.run_line_magic("reload_ext", "gpt_magics")
        assert traces(shell) == once | {"threads": ["MainThread"]}
    shell.run_line_magic("load_ext", "gpt_magics")  # says that it is loaded already
    assert traces(shell) == once | {"threads": ["MainThread"]}
    assert "Error" not in capsys.readouterr().out


def test_what_was_configured_is_forgotten_by_unloading(shell: InteractiveShell) -> None:
    shell.run_cell("import gpt_magics; gpt_magics.configure(temperature=1.5)")
    assert configuration.configured()["temperature"] == 1.5
    shell.run_line_magic("unload_ext", "gpt_magics")
    assert configuration.configured() == {}
