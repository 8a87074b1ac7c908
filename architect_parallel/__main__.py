"""`python -m architect_parallel`, the same as the console script `architect`."""

from architect_parallel.cli.app import main

if __name__ == "__main__":
    main()
