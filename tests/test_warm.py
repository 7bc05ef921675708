"""Warm starts: a stage in a forked process behaves as if it had been started by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdaug.run.shell import stage_words
from sdaug.run.warm import warm_starts

# A library that the stages import, which records every time it is loaded.
LIBRARY = "from pathlib import Path\nwith Path('loaded').open('a') as stream: stream.write('once')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of small stages, as the working directory."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "slow_library.py").write_text(LIBRARY)
    stage = "import os, sys, time\nimport slow_library\n"
    (tmp_path / "stages" / "say.py").write_text(
        stage + "print(sys.argv, os.getcwd(), os.environ.get('WORD'), __name__)\nprint('oh', file=sys.stderr)\n"
    )
    (tmp_path / "stages" / "fail.py").write_text(stage + "sys.exit('error: the loss is nan')\n")
    (tmp_path / "stages" / "crash.py").write_text(stage + "raise KeyError('a bug')\n")
    (tmp_path / "stages" / "killed.py").write_text(stage + "os.kill(os.getpid(), 9)\n")
    (tmp_path / "stages" / "stay.py").write_text(
        stage + "open('here', 'w').write(str(os.getpid()))\ntime.sleep(60)\n",
    )
    (tmp_path / "stages" / "other.py").write_text("print('cold')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def warm(folder: Path) -> Iterator[dict[str, str]]:
    """The environment variables of a running server, which does not know `other.py`."""
    scripts = sorted(path.relative_to(folder) for path in (folder / "stages").glob("*.py") if path.stem != "other")
    with warm_starts(scripts, {}) as environment:
        assert environment
        yield environment


def run(command: str, warm: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command the way DVC runs a stage's command."""
    return subprocess.run(
        [warm["SHELL"], "-c", command], env=os.environ | warm | more, capture_output=True, text=True, check=False
    )


def wait_for(path: Path) -> str:
    """The content of a file as soon as it has any."""
    for _ in range(300):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.1)
    raise TimeoutError(path)


def test_libraries_are_loaded_once_for_all_stages(warm: dict[str, str], folder: Path) -> None:
    for _ in range(3):
        assert run("python stages/say.py", warm).returncode == 0
    assert (folder / "loaded").read_text() == "once"


def test_no_library_is_loaded_before_a_stage_comes(warm: dict[str, str], folder: Path) -> None:
    run("python stages/other.py", warm)
    assert not (folder / "loaded").exists()


def test_a_stage_has_its_callers_arguments_folder_environment_and_outputs(warm: dict[str, str], folder: Path) -> None:
    done = run("python stages/say.py --class score_1 --steps 3", warm, WORD="there")
    said = f"['stages/say.py', '--class', 'score_1', '--steps', '3'] {folder} there __main__\n"
    assert (done.stdout, done.stderr) == (said, "oh\n")


def test_a_stage_runs_its_source_as_it_is_now(warm: dict[str, str], folder: Path) -> None:
    run("python stages/say.py", warm)
    (folder / "stages" / "say.py").write_text("print('changed')\n")
    assert run("python stages/say.py", warm).stdout == "changed\n"


@pytest.mark.parametrize(
    ("script", "status", "text"),
    [("fail", 1, "error: the loss is nan"), ("crash", 1, "KeyError: 'a bug'"), ("killed", 128 + signal.SIGKILL, "")],
)
def test_a_failure_reaches_the_caller(warm: dict[str, str], script: str, status: int, text: str) -> None:
    done = run(f"python stages/{script}.py", warm)
    assert done.returncode == status and text in done.stderr


def test_a_stage_ends_with_its_caller(warm: dict[str, str], folder: Path) -> None:
    command = [warm["SHELL"], "-c", "python stages/stay.py"]
    with subprocess.Popen(command, env=os.environ | warm) as caller:
        stage = int(wait_for(folder / "here"))
        caller.kill()
    for _ in range(100):
        if not Path(f"/proc/{stage}").exists():
            return
        time.sleep(0.1)
    os.kill(stage, signal.SIGKILL)
    pytest.fail("the stage went on")


def test_a_script_that_the_server_does_not_know_starts_by_itself(warm: dict[str, str]) -> None:
    assert run("python stages/other.py", warm).stdout.startswith("cold")


def test_without_a_server_a_stage_starts_by_itself(warm: dict[str, str], tmp_path: Path) -> None:
    gone = warm | {"SDAUG_WARM_SOCKET": str(tmp_path / "nothing")}
    assert run("python stages/other.py", gone).stdout.startswith("cold")


def test_other_commands_go_to_the_ordinary_shell(warm: dict[str, str]) -> None:
    done = run("echo $((1 + 1)); exit 3", warm)
    assert (done.stdout, done.returncode) == ("2\n", 3)


@pytest.mark.parametrize("command", ["python stages/a.py | tee log", "python stages/a.py --x '$HOME'", "python -c 1"])
def test_only_plain_words_are_handed_over(command: str) -> None:
    assert stage_words(command) == []


def test_folded_lines_are_one_command() -> None:
    assert stage_words("python stages/a.py --x y\n  --z data/w\n") == ["stages/a.py", "--x", "y", "--z", "data/w"]


def test_another_python_starts_its_stages_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder / "bin" / "python"
    other.parent.mkdir()
    other.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{other.parent}:{os.environ['PATH']}")
    with warm_starts([Path("stages/say.py")], {}) as environment:
        assert environment == {}
