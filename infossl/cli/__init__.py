"""The command line: one typed dataclass and one `run(config)` per command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `infossl COMMAND ...`; returns the exit status.

    Mistakes in the arguments or the input are one line on the standard error stream and status 2.
    """
    import tyro

    from infossl.cli.calibrate import Calibrate
    from infossl.cli.estimate import Estimate
    from infossl.cli.report import Report
    from infossl.cli.train import Train

    commands: dict[str, Any] = {
        "train": Train,
        "report": Report,
        "estimate": Estimate,
        "calibrate": Calibrate,
    }
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        config = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="infossl",
            description=(
                "Information-theory analysis for self-supervised learning: train with estimators attached, "
                "measure arrays, report runs."
            ),
            args=given,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    except SystemExit as stop:
        if given[:1] == ["train"] and {"-h", "--help"} & set(given) and not stop.code:
            from infossl.cli.catalogue import catalogue

            print(catalogue())
        raise
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        config.run()
    except (ValueError, TypeError, FileNotFoundError, FileExistsError, FloatingPointError) as error:
        print(f"infossl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("infossl: interrupted; a run goes on with `infossl train --resume RUN`", file=sys.stderr)
        return 130
    return 0
