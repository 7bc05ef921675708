"""How long the threads of a process spin while they wait for each other, before they sleep.

Beside other work a spinning thread takes the core that the thread it waits for needs.
"""

from collections.abc import MutableMapping

# Rounds. With libgomp's 300,000 a training step, drawing and the VAE keep 0.44 to 0.48 of their fair share of two cores
# beside one busy process, with 1,000 they keep 0.82 to 1.05. Alone, training is as fast (0.98), while drawing has 0.89
# and the VAE 0.84 of its speed (benchmarks/sharing.py); with 10,000 rounds most of the fair share is lost again.
SPIN_ROUNDS = 1000
SPIN, POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"


def add_patience(environment: MutableMapping[str, str]) -> None:
    """Set the variable that libgomp reads when it is loaded, unless the user has chosen a policy."""
    if POLICY not in environment:
        environment.setdefault(SPIN, str(SPIN_ROUNDS))
