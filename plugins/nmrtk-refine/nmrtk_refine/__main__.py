"""`python -m nmrtk_refine`."""

from nmrtk_refine.command import cli

if __name__ == "__main__":
    cli()
