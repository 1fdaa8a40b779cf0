"""`python -m payplatform.cli` is the same as `payplatform`."""

from payplatform.cli import main

main()
