"""`python -m seedtool`: the program of the Python that runs it, where several environments have one."""

from seedtool.cli import main

if __name__ == "__main__":
    main()
