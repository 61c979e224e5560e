"""`python -m nestgraph.cli`."""

from nestgraph.cli import main

main()
