"""`python -m app`: the same as `charlie`."""

from app.cli import main

main()
