"""The magics in a real kernel: what a notebook shows, and what survives the stop button."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from kernels import WIDGET, configure, environment
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from waiting import eventually

if TYPE_CHECKING:
    from kernels import Cell, Kernel, Open

    from gpt_magics.sandbox import Sandbox

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FRAME = "import pandas as pd\ndf = pd.DataFrame({'review': [f'row {n}' for n in range(60)]})\n"


def well(cell: Cell) -> Cell:
    assert not cell.error, cell.traceback
    assert not cell.errors, cell.errors
    return cell


def static(output: dict[str, Any]) -> bool:
    return set(output) == {"text/html", "text/plain"}


def test_a_question_streams_into_one_output_and_a_quiet_line(kernel: Kernel, sandbox: Open) -> None:
    box = sandbox(tokens_per_second=20)
    configure(kernel.run, box)
    cell = well(kernel.run("%%gpt\none two three four five six seven eight nine ten"))
    answer, quiet = cell.outputs
    assert answer["text/markdown"] == "one two three four five six seven eight nine ten"
    assert quiet["text/plain"].startswith("sandbox-echo · ")
    assert cell.updates >= 2
    assert cell.text == ""


def test_a_line_question_shows_its_answer_once(kernel: Kernel, box: Sandbox) -> None:
    configure(kernel.run, box)
    cell = well(kernel.run("%gpt What's up?"))
    assert [output.get("text/markdown") for output in cell.outputs] == ["What's up?", None]
    later = well(kernel.run("_gpt"))
    assert later.outputs[0]["text/markdown"] == "What's up?"


def test_a_batch_leaves_a_static_summary_and_no_widget(kernel: Kernel, sandbox: Open) -> None:
    box = sandbox(latency=0.1)
    configure(kernel.run, box)
    cell = well(kernel.run(FRAME + 'out = %gpt_batch df.review "{review}" --into label'))
    (summary,) = cell.outputs
    assert static(summary)
    assert "60 of 60 rows" in summary["text/plain"]
    assert "60 of 60 rows" in summary["text/html"]
    assert "<script" not in summary["text/html"]
    assert cell.updates >= 1  # it was a widget while it ran
    assert kernel.value("df.label.tolist()") == [f"row {n}" for n in range(60)]
    assert kernel.value("out.result() == df.label.tolist()")


def test_a_batch_as_the_last_line_shows_one_line_about_the_job(
    kernel: Kernel, box: Sandbox
) -> None:
    configure(kernel.run, box)
    cell = well(kernel.run("%gpt_batch ['a'] '{text}'"))
    summary, value = cell.outputs
    assert static(summary)
    assert value["text/plain"].startswith("<Job gpt-")


def test_the_stop_button_keeps_finished_rows(kernel: Kernel, sandbox: Open) -> None:
    box = sandbox(rpm=1200, fill=0.01, latency=0.05)
    configure(kernel.run, box)
    started = kernel.start(FRAME + 'out = %gpt_batch df.review "{review}" --into label')
    eventually(lambda: box.stats()["answered"] > 20)
    kernel.manager.interrupt_kernel()
    cell = kernel.finish(started)
    assert cell.error.startswith("KeyboardInterrupt")
    assert static(cell.outputs[0])
    assert "cancelled" in cell.outputs[0]["text/plain"]
    answered = kernel.value("df.label.dropna().to_dict()")
    assert 12 < len(answered) < 60
    assert answered == {row: f"row {row}" for row in answered}
    assert kernel.value("'out' in globals()") is False
    sent = box.stats()["requests"]
    assert kernel.value("__import__('gpt_magics').limits().lanes[0].queued") == 0
    assert box.stats()["requests"] == sent  # nothing goes on behind the reader's back


def test_the_stop_button_ends_a_question_and_keeps_what_came(kernel: Kernel, sandbox: Open) -> None:
    box = sandbox(tokens_per_second=5)
    configure(kernel.run, box)
    started = kernel.start("%%gpt\n" + " ".join(f"word{n}" for n in range(200)))
    eventually(lambda: box.stats()["in_flight"] == 1)
    time.sleep(1.5)  # five words a second: some have been shown by now
    kernel.manager.interrupt_kernel()
    cell = kernel.finish(started)
    assert cell.error.startswith("KeyboardInterrupt")
    assert cell.outputs[0]["text/markdown"].startswith("word0 word1")
    eventually(lambda: box.stats()["in_flight"] == 0)


def test_the_stop_button_ends_an_await(kernel: Kernel, sandbox: Open) -> None:
    box = sandbox(rpm=120, fill=0.02)
    configure(kernel.run, box)
    well(kernel.run("import gpt_magics; job = gpt_magics.batch([f'row {n}' for n in range(99)])"))
    started = kernel.start("await job")
    eventually(lambda: box.stats()["answered"] > 2)
    kernel.manager.interrupt_kernel()
    cell = kernel.finish(started)
    assert cell.error
    assert kernel.value("job.ended") is False  # the waiting ended, not the job
    assert kernel.value("job.cancel() or job.wait() or job.state.value") == "cancelled"


def test_a_background_batch_is_delivered_before_the_next_cell(
    kernel: Kernel, sandbox: Open
) -> None:
    box = sandbox(latency=0.2)
    configure(kernel.run, box)
    line = 'job = %gpt_batch df.review "{review}" --into label --background'
    cell = well(kernel.run(FRAME + line))
    assert cell.outputs == []
    assert box.stats()["answered"] < 60  # it returned at once
    eventually(lambda: box.stats()["answered"] == 60)
    eventually(lambda: kernel.value("job.ended"))
    assert kernel.value("df.label.tolist()") == [f"row {n}" for n in range(60)]


def test_a_live_panel_of_a_background_job_becomes_a_summary_after_its_cell_ended(
    kernel: Kernel, sandbox: Open
) -> None:
    box = sandbox(rpm=120, fill=0.01)
    configure(kernel.run, box)
    well(kernel.run("rows = list('abcdefghij')\njob = %gpt_batch rows '{text}' --background"))
    cell = well(kernel.run("%gpt_limits"))
    assert WIDGET in cell.outputs[0]
    later = kernel.run("import time\nwhile not job.ended: time.sleep(0.05)\ntime.sleep(0.5)")
    well(later)
    text = well(kernel.run("%gpt_limits")).outputs[0]
    assert static(text)
    assert "10 of 10 rows" in text["text/plain"]


def test_an_error_is_one_message_without_a_traceback_of_ours(kernel: Kernel, box: Sandbox) -> None:
    configure(kernel.run, box)
    for code in ("%gpt hello {missing}", "%%gpt -m nonesuch\nhi", "%gpt_batch [1] '{txet}'"):
        cell = kernel.run(code)
        assert cell.error
        assert "gpt_magics" not in cell.traceback
        assert ".py" not in cell.traceback
        assert len(cell.traceback.splitlines()) == 1


def test_the_key_is_in_no_output(kernel: Kernel, sandbox: Open) -> None:
    key = "sk-proj-Zq7-never-to-be-seen-9x"
    box = sandbox(api_key=key)
    configure(kernel.run, box)
    said = []
    for code in (
        "%config GptMagics",
        "%config GptMagics.api_key",
        "%%gpt\nhello",
        "out = %gpt_batch ['a'] '{text}'",
        "out.settings",
        "%gpt_limits",
        "import gpt_magics; gpt_magics.client()",
        "%%gpt -m nonesuch\nhello",
    ):
        cell = kernel.run(code)
        said.append(f"{cell}")
    assert box.stats()["answered"] == 2
    assert key not in "\n".join(said)


def test_widgets_and_threads_are_gone_after_unloading(kernel: Kernel, box: Sandbox) -> None:
    configure(kernel.run, box)
    well(kernel.run("out = %gpt_batch ['a', 'b'] '{text}'"))
    well(kernel.run("%unload_ext gpt_magics"))
    names = kernel.value("[t.name for t in __import__('threading').enumerate()]")
    assert "gpt_magics" not in names
    assert kernel.run("%gpt hello").errors.startswith("UsageError: Line magic function `%gpt`")


def executed(folder: Path, cells: list[str], box: Sandbox, **options: Any) -> Any:
    """A notebook run whole, the way nbclient and papermill do it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    return run_whole(notebook, folder, box, **options)


def run_whole(notebook: Any, folder: Path, box: Sandbox, **options: Any) -> Any:
    client = NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(folder)}}, **options
    )
    own = {"OPENAI_BASE_URL": box.url, "OPENAI_API_KEY": box.key}
    client.execute(env={**environment(folder), **own})
    return notebook


def test_a_notebook_run_whole_keeps_static_outputs(tmp_path: Path, sandbox: Open) -> None:
    box = sandbox(rpm=1200, fill=0.01)
    cells = [
        "%load_ext gpt_magics\n%config GptMagics.model = 'sandbox-echo'\nprefix = 'old'",
        "prefix = 'row'",  # papermill puts the parameters into a cell of their own
        "rows = [f'{prefix} {n}' for n in range(20)]",
        "out = %gpt_batch rows '{text}' --into answers",
        "job = %gpt_batch rows 'again {text}' --into later --background",
        "%gpt_limits",
        # The job ends while this cell runs, and so does its panel; between two cells the panel's
        # last update would be lost on whoever runs a notebook whole.
        "import time\ntime.sleep(2)",
        "job.result()[:2]",
        "print(answers[:2], later[:2])",
    ]
    notebook = executed(tmp_path, cells, box, store_widget_state=False)
    (summary,) = notebook.cells[3].outputs
    assert static(summary.data)
    assert "20 of 20 rows" in summary.data["text/plain"]
    (panel,) = notebook.cells[5].outputs
    assert static(panel.data)  # updated after its own cell had ended
    assert "20 of 20 rows" in panel.data["text/plain"]
    assert notebook.cells[7].outputs[0].data["text/plain"] == "['again row 0', 'again row 1']"
    assert (
        notebook.cells[8].outputs[0].text == "['row 0', 'row 1'] ['again row 0', 'again row 1']\n"
    )
    nbformat.validate(notebook)


def test_a_failing_batch_stops_a_notebook_run_whole(tmp_path: Path, sandbox: Open) -> None:
    box = sandbox(credit=3)
    cells = [
        "%load_ext gpt_magics\n%config GptMagics.model = 'sandbox-echo'",
        "out = %gpt_batch ['a', 'b', 'c', 'd', 'e'] '{text}' --into answers --max-in-flight 1",
        "print('never reached')",
    ]
    with pytest.raises(CellExecutionError, match="3 of 5 rows are done and kept"):
        executed(tmp_path, cells, box)
    assert box.stats()["requests"] == 4


def test_the_quickstart_runs_whole(tmp_path: Path, sandbox: Open) -> None:
    box = sandbox(rpm=6000, tpm=2_000_000, latency=0.05, jitter=0.5, error_rate=0.02, seed=7)
    for path in NOTEBOOKS.iterdir():
        if path.is_file():
            shutil.copyfile(path, tmp_path / path.name)
    notebook = nbformat.read(tmp_path / "quickstart.ipynb", as_version=4)
    run_whole(notebook, tmp_path, box)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    widgets = [
        cell.source
        for cell in notebook.cells
        if any(WIDGET in output.get("data", {}) for output in cell.get("outputs", ()))
    ]
    assert widgets == []
    assert static(notebook.cells[-2].outputs[-1].data)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    rows = sum(1 for _ in (NOTEBOOKS / "jargon.csv").open()) - 1
    assert "rows answered" in printed
    assert sum(static(output.get("data", {})) for output in outputs) >= 3
    stats = box.stats()
    assert stats["refused"] == {}
    assert stats["answered"] > min(rows, 30)
    nbformat.validate(notebook)
