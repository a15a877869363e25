"""Options of `skipvae study`; imports nothing heavy, so that help and mistakes are answered at once."""

import argparse
from collections.abc import Sequence

DESCRIPTION = "Many runs, one table: models against varied quantities, each with several seeds."


def parse_options(args: Sequence[str]) -> argparse.Namespace:
    """The options after `skipvae study` on the command line; ends the process for help and mistakes."""
    parser = argparse.ArgumentParser(prog="skipvae study", description=DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "train and test the runs of a study that are not finished, then report"),
        ("report", "write the table and the figures"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("file", help="the study file, such as configs/quickstart/images.yaml")
        command.add_argument("--allow_mixed", action="store_true", help="accept runs made with different code or data")
        command.add_argument("--mixed", dest="allow_mixed", action="store_true", help=argparse.SUPPRESS)  # its old name
        command.add_argument("--output", help="folder of the report; by default lightning_logs/NAME/report")
    command = commands.choices["run"]
    command.add_argument("--jobs", type=int, default=1, help="runs at a time, each on its own GPU where there are GPUs")
    command.add_argument("--only", nargs="+", metavar="RUN", help="only these runs, without a report")
    command.add_argument("--dry_run", action="store_true", help="print the runs and their progress; start nothing")
    command.add_argument("--cluster", choices=("slurm", "local", "debug"), help="hand the runs to submitit")
    command.add_argument(
        "--cluster_options", nargs="+", default=[], metavar="KEY=VALUE", help="for submitit, such as timeout_min=600"
    )
    commands.choices["report"].add_argument("--partial", action="store_true", help="leave out runs that are missing")
    commands.choices["report"].add_argument("--page", help="also write the study into this Markdown page of results")
    return parser.parse_args(args)
