"""The magics in an IPython without a browser: parse, call, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from gpt_magics import api
from gpt_magics.errors import GptMagicsError
from gpt_magics.jobs.job import Job

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from kernels import Open

    from gpt_magics.sandbox import Sandbox

KEY = "sk-proj-Zq7-never-to-be-seen-9x"


def contents(box: Sandbox) -> list[str]:
    return [each.json["messages"][-1]["content"] for each in box.bodies]


def ran(shell: InteractiveShell, code: str) -> Any:
    """A cell's value; it must end well."""
    outcome = shell.run_cell(code)
    outcome.raise_error()
    return outcome.result


def failed(shell: InteractiveShell, code: str) -> GptMagicsError:
    error = shell.run_cell(code).error_in_exec
    assert isinstance(error, GptMagicsError), repr(error)
    return error


def test_a_question_prints_its_answer_and_one_quiet_line(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(shell, "%%gpt\nTell me more.")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Tell me more."
    assert lines[1].startswith("sandbox-echo · ")
    assert "tokens · unknown cost · " in lines[1]
    assert len(lines) == 2
    assert ran(shell, "_gpt.text") == "Tell me more."


def test_a_line_is_a_question_and_its_answer_a_value(
    shell: InteractiveShell, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(shell, "answer = %gpt -m sandbox-echo Say it")
    assert ran(shell, "answer.text") == "Say it"
    ran(shell, "%gpt 'Quoted words' --max-tokens 1")
    assert contents(box) == ["Say it", "Quoted words"]
    assert box.bodies[-1].json["max_tokens"] == 1
    assert "cut off at --max-tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("%gpt What's up?", "What's up?"),
        ("  %gpt Is {word} a word??", "Is x a word??"),
        ("_a = %gpt Really?", "Really?"),
        ("%gpt -m sandbox-echo Why?", "Why?"),
        ('%gpt "Why?"', "Why?"),
    ],
)
def test_a_question_mark_at_the_end_asks_no_help(
    shell: InteractiveShell, box: Sandbox, line: str, asked: str
) -> None:
    shell.user_ns["word"] = "x"
    ran(shell, line)
    assert contents(box) == [asked]


@pytest.mark.parametrize("line", ["%gpt?", "%%gpt?", "?%gpt", "%gpt_batch?", "%gpt_limits?"])
def test_a_magic_with_a_question_mark_is_help(
    shell: InteractiveShell, box: Sandbox, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(shell, line)
    assert "Usage::" in capsys.readouterr().out
    assert box.stats()["requests"] == 0


def test_names_of_the_notebook_are_put_in_once_and_other_braces_stay(
    shell: InteractiveShell, box: Sandbox
) -> None:
    shell.user_ns |= {"who": "Ada {other} $who", "other": "hidden", "d": {"k": [1, 2]}}
    ran(shell, "%%gpt\n{who}, {d[k]}, {'a': 1}, {{who}}, $who, p { margin: 0 }")
    ran(shell, "%gpt {who} costs $who {'b': 2}")
    assert contents(box) == [
        "Ada {other} $who, [1, 2], {'a': 1}, {who}, $who, p { margin: 0 }",
        "Ada {other} $who costs $who {'b': 2}",
    ]


def test_ipython_expands_nothing_on_a_batch_line(shell: InteractiveShell, box: Sandbox) -> None:
    shell.user_ns |= {"text": "EXPANDED", "rows": ["a", "b"], "HOME": "EXPANDED"}
    ran(shell, '%gpt_batch rows "$HOME {text} {{text}}"')
    ran(shell, "%%gpt_batch rows --system $HOME\n{text}: $HOME")
    assert contents(box) == ["$HOME a {text}", "$HOME b {text}", "a: $HOME", "b: $HOME"]
    assert box.bodies[-1].json["messages"][0]["content"] == "$HOME"


def test_an_unknown_name_costs_nothing(shell: InteractiveShell, box: Sandbox) -> None:
    shell.user_ns["audience"] = "all"
    assert "{audience}" in str(failed(shell, "%gpt For {audeince}"))
    shell.user_ns["rows"] = [{"review": "a"}]
    assert "{review}" in str(failed(shell, '%gpt_batch rows "{reveiw}"'))
    assert box.stats()["requests"] == 0


def test_a_batch_over_a_column_writes_beside_it(shell: InteractiveShell) -> None:
    ran(
        shell,
        "import pandas as pd\n"
        "df = pd.DataFrame({'my review': ['a', 'b'], 'count': [1, 2]})\n"
        "out = %gpt_batch df['my review'] \"{text} {count}\" --into label --limit 1",
    )
    assert ran(shell, "df.label.tolist()") == ["a 1", None]
    assert isinstance(shell.user_ns["out"], Job)
    assert ran(shell, "out.result()") == ["a 1", None]


def test_answers_to_a_list_are_bound_to_a_name(shell: InteractiveShell) -> None:
    shell.user_ns["rows"] = [{"who": "Ada"}, {"who": "Alan"}]
    ran(shell, "%%gpt_batch rows --into greetings\nDear {who}")
    assert shell.user_ns["greetings"] == ["Dear Ada", "Dear Alan"]


def test_local_variables_of_a_function_are_seen(shell: InteractiveShell, box: Sandbox) -> None:
    ran(
        shell,
        "def inner(rows, tone):\n"
        '    job = %gpt_batch rows "{tone}: {text}"\n'
        "    answer = %gpt In {tone}\n"
        "    return job.result(), answer.text\n"
        "found = inner(['a'], 'a whisper')",
    )
    assert shell.user_ns["found"] == (["a whisper: a"], "In a whisper")
    assert "tone" not in shell.user_ns
    assert len(box.bodies) == 2


def test_a_background_batch_is_delivered_before_the_next_cell_runs(
    shell: InteractiveShell,
) -> None:
    shell.user_ns["rows"] = ["a", "b"]
    ran(shell, 'job = %gpt_batch rows "{text}" --into answers --background')
    job = shell.user_ns["job"]
    eventually(lambda: job.ended)
    assert "answers" not in shell.user_ns  # nothing changes between two cells
    assert ran(shell, "list(answers)") == ["a", "b"]


def test_limits_in_a_terminal_are_plain_text(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(shell, "%gpt_limits")
    assert capsys.readouterr().out
    ran(shell, "%gpt_batch ['a', 'b'] '{text}'")
    capsys.readouterr()
    ran(shell, "%gpt_limits")
    said = capsys.readouterr().out
    assert "%gpt_batch ['a', 'b'] '{text}'" not in said  # the title names the source alone
    assert "%gpt_batch ['a', 'b'] (sandbox-echo): done" in said
    assert "2 of 2 rows" in said
    assert "600k RPM" in said
    assert "<" not in said


@pytest.mark.parametrize(
    "line", ["%config GptMagics", "%config GptMagics.api_key", "%config", "%gpt?", "%gpt_limits"]
)
def test_the_key_is_never_shown(
    shell: InteractiveShell, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(shell, f"%config GptMagics.api_key = '{KEY}'")
    value = ran(shell, line)
    said = capsys.readouterr()
    assert KEY not in said.out + said.err + repr(value)
    assert said.out or value


def test_a_wrong_setting_is_refused_and_the_key_not_repeated(
    shell: InteractiveShell, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell(f"%config GptMagics.api_key = '{KEY} and more'")
    shell.run_cell("%config GptMagics.max_in_flight = 0")
    said = caplog.text + capsys.readouterr().out
    assert KEY not in said
    assert "The API key holds characters that no key has" in said
    assert "max_in_flight must be at least 1" in said


@pytest.mark.parametrize(
    "code",
    [
        "%gpt hello -m nonesuch {missing}",
        "%%gpt --modle x\nhello",
        "%gpt",
        "%gpt_batch",
        "%gpt_batch nothing '{text}'",
        "%gpt_batch ['a'] '{txet}'",
        "%gpt_batch ['a'] '{text}' --model nonesuch",
        "%gpt_batch ['a'] '{text}' --budget 1",
        "%gpt_limits --all",
        "%%gpt -m nonesuch\nhello",
    ],
)
def test_an_error_is_one_message_without_a_traceback_of_ours(
    shell: InteractiveShell, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = failed(shell, code)
    said = capsys.readouterr().out
    assert f"{type(error).__name__}: {error}" in said
    assert len(said.strip().splitlines()) == 1
    assert "Traceback" not in said
    assert ".py" not in said


def test_an_interrupt_keeps_finished_rows_and_is_raised(
    shell: InteractiveShell, sandbox: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = sandbox(rpm=600, fill=0.01)
    ran(shell, f"%config GptMagics.base_url = {slow.url!r}")
    ran(shell, "import pandas as pd; df = pd.DataFrame({'review': [str(n) for n in range(50)]})")
    from gpt_magics.jobs.progress import ProgressLine  # noqa: PLC0415 - patched below

    def interrupt(line: ProgressLine) -> None:
        if slow.stats()["answered"] > 5 and not interrupted:
            interrupted.append(line)
            raise KeyboardInterrupt

    interrupted: list[ProgressLine] = []
    monkeypatch.setattr(ProgressLine, "update", interrupt)
    outcome = shell.run_cell('out = %gpt_batch df.review "{review}" --into label')
    assert isinstance(outcome.error_in_exec, KeyboardInterrupt)
    answered = shell.user_ns["df"]["label"].dropna()
    assert 5 < len(answered) < 50
    assert answered.tolist() == [str(n) for n in answered.index]
    assert "out" not in shell.user_ns
    assert api.jobs()[-1].ended
