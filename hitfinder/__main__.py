"""`python -m hitfinder` is the `hitfinder` command."""

from hitfinder.cli import main

main()
