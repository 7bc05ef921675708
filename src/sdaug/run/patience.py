"""How long the threads of a process spin while they wait for each other, before they sleep.

Beside other work a spinning thread takes the core that the thread it waits for needs.
"""

from collections.abc import MutableMapping

# Rounds. With libgomp's 300,000 a training step beside one busy process keeps 0.4 of its fair share of two cores, with
# 1,000 it keeps 0.9, and it is no slower alone (benchmarks/sharing.py).
SPIN_ROUNDS = 1000
SPIN, POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"


def add_patience(environment: MutableMapping[str, str]) -> None:
    """Set the variable that libgomp reads when it is loaded, unless the user has chosen a policy."""
    if POLICY not in environment:
        environment.setdefault(SPIN, str(SPIN_ROUNDS))
