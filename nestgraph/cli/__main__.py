"""`python -m nestgraph.cli`."""

from nestgraph.cli.app import main

main()
