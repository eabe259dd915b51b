"""Lets `python -m warrener.services.cli` stand for `warrener`."""

from warrener.services.cli import main

if __name__ == "__main__":
    main()
