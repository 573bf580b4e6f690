"""Entry point of `python -m refinenet_pl`."""

from refinenet_pl.cli.main import main

if __name__ == "__main__":
    main()
