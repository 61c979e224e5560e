"""`python -m nestgraph`: the command line, for launchers that take a module, such as torchrun."""

from nestgraph.cli import main

if __name__ == "__main__":
    main()
