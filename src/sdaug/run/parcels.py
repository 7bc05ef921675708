"""Stages on workers that do not see the study's folder: what is sent along, what they pull, and what comes back."""

import io
import shutil
import tarfile
import threading
import uuid
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from sdaug.common.files import fresh_dir
from sdaug.run.worker import Parcel

RETURNED = Path(".work/returned")
CODE = ("src/sdaug", "stages", "params.yaml")
PULLED = "pulled.dvc"
# In names of a remote's settings: workers have passwords and tokens of their own.
SECRET = ("connection_string", "key", "pass", "sas", "secret", "token")


class Parcels:
    """Packs what stages of the study in a folder need, and puts what they have made in its place.

    Raises:
        ValueError: the study has no remote that workers could pull from.
    """

    def __init__(self, folder: Path) -> None:
        from dvc.repo import Repo  # takes a second

        self.folder, self.lock, self.pushed = folder.resolve(), threading.Lock(), set[tuple[str, str]]()
        self.repo: Any = Repo(str(folder), _wait_for_lock=True)
        self.config = _remote_config(self.repo.config.load_one("repo"))

    def pack(self, stage: str, part: str | None = None) -> Parcel:
        """What a stage needs: its dependencies are pushed, or sent along if DVC does not keep them.

        If it makes only a `part` of its outputs, the folder of that.

        Raises:
            ValueError: the remote does not take what is pushed.
        """
        from dvc.exceptions import DvcException
        from dvc.repo import lock_repo

        with self.lock, lock_repo(self.repo):  # other DVC processes write dvc.lock
            [found] = [one for one in self.repo.index.stages if one.name == stage]
            paths = [self._path(dep) for dep in found.deps]
            made = {path: self._maker(path) for path in paths}
            kept = {self._path(out): out for out in made.values() if out}
            try:
                self._push(kept)
            except DvcException as error:
                raise ValueError(f"dvc push: {error}; the default remote has to be within reach") from error
            return Parcel(
                archive=self._archive(
                    [*CODE, *(path for path in paths if not made[path])],
                    {".dvc/config": self.config, PULLED: _pulled_text(kept)},
                ),
                pulled=tuple(path for path in paths if made[path]),
                outs=(part,) if part else tuple(map(self._path, found.outs)),
            )

    def brings(self, model: str) -> bool:
        """Whether workers have the Stable Diffusion that the stage `base` loads: sent along, or of the hub."""
        [base] = [one for one in self.repo.index.stages if one.name == "base"]
        return not Path(model).exists() or model in map(self._path, base.deps)

    def receive(self, parcel: Parcel, archive: Path) -> None:
        """Put what a worker has sent back where the stage would have written it, all or nothing of each output."""
        scratch = self.folder / RETURNED / uuid.uuid4().hex
        try:
            with tarfile.open(archive) as stream:
                stream.extractall(scratch, filter="data")
            for out in parcel.outs:
                found, target = scratch / out, self.folder / out
                if found.is_dir():
                    with fresh_dir(target) as folder:
                        for path in found.iterdir():
                            shutil.move(path, folder)
                elif found.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    found.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _path(self, node: Any) -> str:
        """Where a dependency or an output is in the study."""
        return Path(node.fs_path).relative_to(self.folder).as_posix()

    def _maker(self, path: str) -> Any:
        """The output that a path is, or is in; None if DVC's cache does not hold it."""
        from dvc.exceptions import OutputNotFoundError

        try:
            [out] = self.repo.find_outs_by_path(str(self.folder / path), strict=False)
        except OutputNotFoundError:
            return None
        return out if out.use_cache else None

    def _push(self, kept: Mapping[str, Any]) -> None:
        """Send to the remote what this command has not sent yet."""
        wanted = {(path, out.hash_info.value) for path, out in kept.items()} - self.pushed
        if wanted:
            self.repo.push(targets=sorted(path for path, _ in wanted))
            self.pushed |= wanted

    def _archive(self, paths: Iterable[str], files: Mapping[str, str]) -> bytes:
        """A compressed archive of files and folders of the study, and of files with these texts."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as stream:
            for path in sorted(set(paths)):
                if not any(Path(path).is_relative_to(code) for code in CODE if code != path):
                    stream.add(self.folder / path, path, filter=_without_bytecode)
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                stream.addfile(entry, io.BytesIO(text.encode()))
        return archive.getvalue()


def _without_bytecode(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in Path(entry.name).parts else entry


def _remote_config(shared: Mapping[str, Any]) -> str:
    """The .dvc/config of a worker's copy: the study's default remote, without secrets."""
    name = shared["core"].get("remote")
    if name not in shared["remote"]:
        raise ValueError(
            "grid: --pull: .dvc/config has no default remote to pull from; `dvc remote add --default NAME URL`, with a "
            "place that workers reach as well"
        )
    config = ConfigParser(interpolation=None)
    config["core"] = {"remote": name, "no_scm": "true", "analytics": "false", "check_update": "false"}
    config[f"'remote \"{name}\"'"] = {
        key: str(value) for key, value in shared["remote"][name].items() if not any(word in key for word in SECRET)
    }
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def _pulled_text(kept: Mapping[str, Any]) -> str:
    """A .dvc file that names these outputs."""
    from dvc.utils.serialize import dumps_yaml

    outs = [{"path": path, "hash": "md5", "md5": out.hash_info.value} for path, out in kept.items()]
    return str(dumps_yaml({"outs": outs}))
