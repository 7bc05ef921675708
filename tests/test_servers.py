"""Sharing a study through real servers on loopback: what a colleague's clone gets, and what damage does."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from line import run
from servers import SSHD, Dying, Hanging, Quiet, http_server, s3_server, ssh_server, webdav_server

Start = Callable[[Path], AbstractContextManager[dict[str, str]]]
SERVERS: dict[str, Start] = {"ssh": ssh_server, "webdav": webdav_server, "s3": s3_server}
PART = "evaluate@custom-original"  # a stage on which neither generators nor other models have a bearing

pytestmark = pytest.mark.xdist_group("line")  # in one process, which runs their study once


def use_remote(folder: Path, settings: Mapping[str, str]) -> None:
    """Write what `dvc remote modify --local store KEY VALUE` does, which takes seconds for each key."""
    lines = ["['remote \"store\"']", *(f"    {key} = {value}" for key, value in settings.items())]
    (folder / ".dvc" / "config.local").write_text("\n".join(lines) + "\n")


def clone_of(study: Path, folder: Path, settings: Mapping[str, str]) -> Path:
    """A clone with an empty cache."""
    run(study, "git", "clone", "-q", ".", str(folder))
    use_remote(folder, settings)
    return folder


@pytest.fixture
def pushed(clean: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder to which all outputs of the study were pushed."""
    use_remote(clean, {"url": str(tmp_path / "store")})
    run(clean, "dvc", "push")
    yield tmp_path / "store"
    (clean / ".dvc" / "config.local").unlink()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_clone_pulls_from_a_server_and_runs_nothing(clean: Path, tmp_path: Path, kind: str) -> None:
    if kind == "ssh" and SSHD is None:
        pytest.skip("no OpenSSH server; install Debian's openssh-server")
    (tmp_path / "server").mkdir()
    with SERVERS[kind](tmp_path / "server") as settings:
        for key, value in settings.items():
            run(clean, "dvc", "remote", "modify", "--local", "store", key, value)  # as docs/dvc.md says
        run(clean, "dvc", "push", "--with-deps", PART)
        (clean / ".dvc" / "config.local").unlink()
        clone = clone_of(clean, tmp_path / "pulled", settings)
        run(clone, "dvc", "pull", "--with-deps", PART)
        assert "Data and pipelines are up to date." in run(clone, "dvc", "repro", PART)
        lazy = clone_of(clean, tmp_path / "lazy", settings)
        output = run(lazy, "dvc", "repro", "--pull", PART)
        assert "Running stage" not in output and "up to date" in run(lazy, "dvc", "status", "--with-deps", PART)
    fetched = run(clone, "git", "status", "--porcelain")
    assert fetched == "", fetched  # secrets are in config.local, which Git ignores


@pytest.mark.slow
def test_a_clone_pulls_over_http_which_refuses_a_push(clean: Path, pushed: Path, tmp_path: Path) -> None:
    with http_server(pushed) as settings:
        clone = clone_of(clean, tmp_path / "clone", settings)
        run(clone, "dvc", "fetch")
        run(clone, "dvc", "checkout")
        assert "Data and pipelines are up to date." in run(clone, "dvc", "repro")
        (clone / "data" / "prepared" / "copies.csv").unlink()
        (clone / "data" / "prepared" / "copies.csv").write_text("another\n")
        run(clone, "dvc", "commit", "--force", "prepare")
        assert "failed to push" in run(clone, "dvc", "push", ok=False)


def test_a_damaged_object_is_refused(clean: Path, pushed: Path, tmp_path: Path) -> None:
    victim = next(path for path in sorted(pushed.rglob("*")) if path.is_file() and path.suffix != ".dir")
    whole = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with http_server(pushed) as settings:
        clone = clone_of(clean, tmp_path / "clone", settings)
        output = run(clone, "dvc", "pull", ok=False)
        print(output)
        assert "failed to pull" in output and "failed for following targets" in output
        assert not [
            path for path in (clone / ".dvc" / "cache").rglob(victim.name) if path.parent.name == victim.parent.name
        ]
        victim.write_bytes(whole)
        run(clone, "dvc", "pull")
        assert "Data and pipelines are up to date." in run(clone, "dvc", "repro")


def test_a_missing_object_is_named_and_a_healthy_clone_repairs_the_server(
    clean: Path, pushed: Path, tmp_path: Path
) -> None:
    victim = next(path for path in sorted(pushed.rglob("*")) if path.is_file() and path.suffix != ".dir")
    victim.unlink()
    clone = clone_of(clean, tmp_path / "clone", {"url": str(pushed)})
    output = run(clone, "dvc", "pull", ok=False)
    print(output)
    assert victim.parent.name + victim.name in output or "missing" in output, output
    # The two commands of docs/dvc.md.
    subprocess.run(["find", str(pushed), "-name", "*.dir", "-delete"], check=True)
    run(clean, "env", f"DVC_SITE_CACHE_DIR={tmp_path / 'fresh'}", "dvc", "push")
    assert victim.is_file()
    run(clone, "dvc", "pull")
    assert "Data and pipelines are up to date." in run(clone, "dvc", "repro")


@pytest.mark.slow
def test_a_pull_from_a_server_that_hangs_ends_in_time_and_can_be_completed(
    clean: Path, pushed: Path, tmp_path: Path
) -> None:
    with http_server(pushed, Hanging) as settings:
        clone = clone_of(clean, tmp_path / "clone", settings)
        begin = time.monotonic()
        run(clone, "timeout", "--signal", "INT", "--kill-after", "10", "15", "dvc", "pull", ok=False)
        assert time.monotonic() - begin < 40
    use_remote(clone, {"url": str(pushed)})
    run(clone, "dvc", "pull")
    assert "Data and pipelines are up to date." in run(clone, "dvc", "repro")


@pytest.mark.slow
@pytest.mark.parametrize("whole", [7, *(pytest.param(whole, marks=pytest.mark.slow) for whole in (0, 40))])
def test_a_pull_completes_after_a_server_has_died_in_its_middle(
    clean: Path, pushed: Path, tmp_path: Path, whole: int
) -> None:
    Dying.whole, Dying.given = whole, 0
    with http_server(pushed, Dying) as settings:
        clone = clone_of(clean, tmp_path / "clone", settings)
        assert "ERROR" in run(clone, "timeout", "200", "dvc", "pull", ok=False)
    with http_server(pushed, Quiet) as settings:
        use_remote(clone, settings)
        run(clone, "dvc", "pull")
    assert "Data and pipelines are up to date." in run(clone, "dvc", "repro")


@pytest.mark.slow
def test_branches_that_tune_different_models_merge_and_only_the_report_is_made_again(
    clean: Path, warm_stages: dict[str, str]
) -> None:
    begin = run(clean, "git", "rev-parse", "HEAD").strip()
    main = run(clean, "git", "rev-parse", "--abbrev-ref", "HEAD").strip()
    for branch, knob in (("one", "custom"), ("two", "other")):
        run(clean, "git", "checkout", "-qb", branch, begin)
        run(clean, "dvc", "checkout", "-q", "--force")
        run(clean, "dvc", "exp", "run", "-S", f"classifiers.{knob}.learning_rate=7.0e-3", **warm_stages)
        run(clean, "git", "commit", "-qam", branch)
    try:
        listed = run(clean, "git", "merge", "one", ok=False)
        assert "Merge conflict in dvc.lock" in listed and "Merge conflict in params.yaml" not in listed
        run(clean, "git", "merge", "--abort")
        # The two commands of docs/dvc.md.
        run(clean, "git", "merge", "-q", "-X", "ours", "one", "-m", "merge")
        run(clean, "dvc", "checkout", "-q", "--force", "--allow-missing")
        output = run(clean, "dvc", "repro", **warm_stages)
        assert [line for line in output.splitlines() if line.startswith("Running stage")] == ["Running stage 'report':"]
        assert "up to date" in run(clean, "dvc", "status")
    finally:
        run(clean, "git", "checkout", "-qf", main)
        run(clean, "git", "reset", "-q", "--hard", begin)
