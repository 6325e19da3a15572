"""`python -m nmrtk`."""

from nmrtk.cli.main import cli

cli(prog_name="nmrtk")
