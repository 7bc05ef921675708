"""Which machines run the stages of a study: unlike ones round differently."""

import sys

from sdaug.run.worker import Worker, compare_versions, list_versions


class Machines:
    """The machines that have run stages of a study, and whether unlike ones are refused."""

    def __init__(self, *, same_versions: bool = False, same_hardware: bool = False) -> None:
        self.same_versions, self.same_hardware = same_versions, same_hardware
        self.versions, self.told = list_versions(), set[str]()
        self.hardware = dict[bool, tuple[str, str]]()  # with and without a GPU: of the first worker, and its host

    def check(self, worker: Worker) -> None:
        """Tell once of each machine that is unlike others.

        Raises:
            ValueError: its processor or GPU is another one, which is refused.
        """
        host, gpus = worker["host"], worker["gpus"]
        others = compare_versions(worker["versions"], self.versions)
        # A GPU computes what a processor would have to.
        hardware = ", ".join(gpus) or worker["processor"]
        first, first_host = self.hardware.setdefault(bool(gpus), (hardware, host))
        if hardware != first:
            if self.same_hardware:
                raise ValueError(
                    f"{host}: {hardware} instead of the {first} of {first_host}; leave that machine out, or leave out "
                    "--same-hardware"
                )
            others = ", ".join(filter(None, [others, f"{hardware} instead of {first}"]))
        if others and host not in self.told:
            self.told.add(host)
            print(f"{host}: {others}; numbers may differ in their last digits", file=sys.stderr, flush=True)
