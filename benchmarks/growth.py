"""How the time, memory and files of a study grow with its images, classes, generators and training runs.

Along each axis studies of tiny stages are run with `sdaug grid` at several sizes, and the exponent of growth is the
slope of log over log: 1 is in proportion, 2 with the square. Every DVC process and every stage logs its seconds and its
peak memory. CPU seconds are what to trust on a machine that others share. What DVC takes itself is the CPU time of its
processes without that of stages.

    python benchmarks/growth.py                                # three sizes of each axis: hours on two cores
    python benchmarks/growth.py --axis runs --sizes 75 150 300
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from growth_study import Shape, Study, of_classes, of_generators, of_images, of_runs
from results import add_write_option, write_results

AXES: Mapping[str, Callable[[int], Shape]] = {
    "images": of_images,
    "classes": of_classes,
    "generators": of_generators,
    "runs": of_runs,
}
SIZES = {"images": (250, 500, 1000), "classes": (10, 30, 100), "generators": (12, 35, 100), "runs": (75, 150, 300)}
MIB = 2**20
STAGES_SHOWN = 0.05  # stages with less CPU seconds at the largest size are left out of the table
# What benchmarks/results.csv has of the figures.
CHOSEN = (
    *("whole_s", "stages_cpu_s", "dvc_cpu_s", "dvc_per_stage_cpu_s", "grid_cpu_s", "status_cpu_s"),
    *("check_cpu_s", "report_cpu_s", "dvc_peak_mib", "stage_peak_mib", "lock_mib", "report_mib"),
)

Figures = dict[str, float]


def measure(shape: Shape, folder: Path, *, num_jobs: int, mlflow: bool) -> Figures:
    """Run a study of this shape and say what it took."""
    study = Study(folder, shape, mlflow=mlflow)
    start = len(study.read_log())
    whole = study.run("sdaug", "grid", "--jobs", str(num_jobs))
    rows = study.read_log(start=start)
    stages = [row for row in rows if row["kind"] == "stage"]
    dvc = [row for row in rows if row["kind"] == "dvc"]
    (grid,) = (row for row in rows if row["kind"] == "sdaug")
    figures: Figures = {
        "num_stages": len(stages),
        "whole_s": whole,
        "stages_cpu_s": sum(row["cpu_s"] for row in stages),
        "dvc_cpu_s": sum(row["cpu_s"] for row in dvc),
        "dvc_processes": len(dvc),
        "stages_wall_s": sum(row["wall_s"] for row in stages),
        "dvc_wall_s": sum(row["wall_s"] for row in dvc) - sum(row["wall_s"] for row in stages),
        "grid_cpu_s": grid["cpu_s"],
        "dvc_peak_mib": max(row["peak_mib"] for row in dvc),
        "stage_peak_mib": max(row["peak_mib"] for row in stages),
    }
    figures["dvc_per_stage_cpu_s"] = figures["dvc_cpu_s"] / len(stages)
    # What is left when nothing is to be done.
    start = len(study.read_log())
    study.run("dvc", "status")
    (status,) = study.read_log(start=start)
    figures |= {"status_cpu_s": status["cpu_s"]} | sizes_of(study.folder) | by_stage(stages)
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")
    return figures


def sizes_of(study: Path) -> Figures:
    """Sizes of the files that a study ends with."""
    sizes = {
        "lock_mib": (study / "dvc.lock").stat().st_size / MIB,
        "report_mib": sum(path.stat().st_size for path in (study / "report").rglob("*") if path.is_file()) / MIB,
        "page_mib": (study / "report" / "index.html").stat().st_size / MIB,
        "metrics_mib": sum(path.stat().st_size for path in (study / "metrics").rglob("*") if path.is_file()) / MIB,
    }
    database = study / "mlflow.db"
    return sizes | ({"mlflow_mib": database.stat().st_size / MIB} if database.exists() else {})


def by_stage(rows: Sequence[Mapping[str, object]]) -> Figures:
    """CPU and wall seconds of the stages of each name, together and each, and the peak memory of one."""
    named = defaultdict[str, list[Mapping[str, object]]](list)
    for row in rows:
        named[str(row["name"])].append(row)
    figures: Figures = {}
    for name, found in named.items():
        for kind in ("cpu_s", "wall_s"):
            figures[f"{name}_{kind}"] = sum(float(str(row[kind])) for row in found)
        figures[f"{name}_each_cpu_s"] = figures[f"{name}_cpu_s"] / len(found)
        figures[f"{name}_peak_mib"] = max(float(str(row["peak_mib"])) for row in found)
    return figures


def fit_exponents(sizes: Sequence[int], found: Sequence[Figures]) -> Figures:
    """The slope of log over log of each measure that all sizes have, where it is not zero."""
    shared = [name for name in found[0] if all(figures.get(name, 0) > 0 for figures in found)]
    if len(sizes) < 2:
        return {}
    logs = np.log([[figures[name] for name in shared] for figures in found])
    slopes = np.polyfit(np.log(sizes), logs, deg=1)[0]
    return dict(zip(shared, slopes.tolist(), strict=True))


def table_of(axis: str, sizes: Sequence[int], found: Sequence[Figures], exponents: Figures) -> str:
    """A line per measure: its values and its exponent."""
    lines = [f"{axis:24}" + "".join(f"{size:>10}" for size in sizes) + "  exponent"]
    for name in found[0]:
        stage = name.removesuffix("_cpu_s").removesuffix("_each").removesuffix("_wall_s").removesuffix("_peak_mib")
        if found[-1].get(f"{stage}_cpu_s", 1.0) < STAGES_SHOWN:
            continue
        values = "".join(f"{figures.get(name, float('nan')):10.3f}" for figures in found)
        lines.append(f"{name:24}{values}{exponents.get(name, float('nan')):10.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", choices=AXES, action="append", help="one of the axes (default: all of them)")
    parser.add_argument("--sizes", type=int, nargs="+", help="along the axis (default: three)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mlflow", action="store_true", help="log to MLflow as well, in SQLite")
    parser.add_argument("--keep", type=Path, help="a new folder for the studies, which then stay (default: deleted)")
    add_write_option(parser)
    args = parser.parse_args()
    report: dict[str, object] = {"jobs": args.jobs}
    for axis in args.axis or AXES:
        sizes, found = args.sizes or SIZES[axis], []
        for size in sizes:
            with tempfile.TemporaryDirectory() as scratch:
                folder = (args.keep or Path(scratch)) / f"{axis}-{size}"
                begin, shape = time.monotonic(), AXES[axis](size)
                figures = measure(shape, folder, num_jobs=args.jobs, mlflow=args.mlflow)
            found.append(figures)
            counts = f"{shape.num_photos} photos, {shape.num_synthetic} synthetic, {shape.num_runs} training runs"
            print(f"{axis} {size}: {counts}: {time.monotonic() - begin:.0f} s", flush=True)
            if args.write:
                write_results("growth", {f"{axis} {size}": chosen(figures)})
        exponents = fit_exponents(sizes, found)
        print(table_of(axis, sizes, found, exponents), flush=True)
        if args.write and exponents:
            write_results("growth", {axis: {f"{name}_exponent": value for name, value in chosen(exponents).items()}})
        report[axis] = {
            "sizes": list(sizes),
            "figures": [{name: round(value, 3) for name, value in figures.items()} for figures in found],
            "exponents": {name: round(value, 2) for name, value in exponents.items()},
        }
    print(json.dumps(report))


def chosen(figures: Figures) -> Figures:
    """What benchmarks/results.csv has of them."""
    return {name: figures[name] for name in CHOSEN if name in figures}


if __name__ == "__main__":
    main()
