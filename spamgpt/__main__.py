"""`python -m spamgpt` is `spamgpt`."""

from spamgpt.cli import main

main()
