"""The simulator of histories: a worst day on demand, told from a seed.

Law of this file: names and where they live, nothing else.

Several merchants, several callers in two processes that may stand still before any port call,
crashes, power cuts, wrong clocks, a bank and a store that fail in every way there is. After each
step the invariants are checked and what each caller was told; in the end our books are compared
with the bank's. The same seed plays the same histories to the byte, on every store. From a shell:

    python -m payplatform.testing.simulate --seed 1 --histories 20000 --storage memory
"""

from payplatform.testing.simulate import steps
from payplatform.testing.simulate.drawing import HONEST_FAULTS
from payplatform.testing.simulate.mutants import MUTANTS
from payplatform.testing.simulate.planting import Mutant
from payplatform.testing.simulate.play import Outcome, play_in_memory
from payplatform.testing.simulate.running import Caught, Failure, Report, catch, simulate
from payplatform.testing.simulate.steps import History

__all__ = [
    "HONEST_FAULTS",
    "MUTANTS",
    "Caught",
    "Failure",
    "History",
    "Mutant",
    "Outcome",
    "Report",
    "catch",
    "play_in_memory",
    "simulate",
    "steps",
]
