"""`python -m tomoul` is the command `tomoul`."""

from tomoul.cli.main import main

main(prog_name="tomoul")
