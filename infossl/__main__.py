"""`python -m infossl` is the command `infossl`."""

from infossl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
