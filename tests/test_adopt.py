"""`sdaug adopt`: what it writes to params.yaml and dvc.yaml, and what it refuses."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from PIL import Image

from sdaug.check.batch_sizes import require_batches
from sdaug.check.graph_match import require_stages
from sdaug.check.study import check_study
from sdaug.run import cli
from sdaug.run.graph import PARAMS, adopted_graph

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git checkout with everything that `sdaug adopt` reads and writes."""
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "presets", folder / "presets")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "study"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def make_photos(folder: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(list(folder.as_posix().encode()))  # other photos in another folder
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / label / f"{index}.png")
    return folder


def adopt(*words: object) -> None:
    """Run `sdaug adopt` on photos of leaves."""
    cli.main(["adopt", *map(str, words), "--subject", "leaf"])


def test_adopt_writes_the_rare_classes_to_both_files(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "leaves", {"few": 5, "many": 9, "some": 6})
    adopt(str(photos))
    params, graph = (yaml.safe_load((checkout / name).read_text()) for name in ("params.yaml", "dvc.yaml"))
    assert params["classes"] == ["few", "many", "some"]
    assert list(params["concepts"]) == ["few", "some"]
    for stage in ("audit_images", "split", "fidelity", "report"):
        listed = [dep for dep in graph["stages"][stage]["deps"] if dep.startswith("data/synthetic/")]
        assert listed == ["data/synthetic/few", "data/synthetic/some"]
    assert "phantom" not in graph["stages"]


def test_adopt_leaves_commands_as_they_are(checkout: Path, tmp_path: Path) -> None:
    before = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]
    adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9, "some": 6})))
    after = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]
    assert {name: stage["cmd"] for name, stage in after.items()}.items() <= {
        name: stage["cmd"] for name, stage in before.items()
    }.items()


def test_adopt_lists_the_generators_that_the_audit_looks_at(checkout: Path, tmp_path: Path) -> None:
    adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9, "some": 6})))
    audit = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]["audit_images"]
    generators = ["models/dreambooth/few", "models/dreambooth/some"]
    assert [dep for dep in audit["deps"] if dep.startswith("models/dreambooth/")] == generators
    assert "models/base" in audit["deps"]


def test_adopt_names_the_subject_in_every_prompt(checkout: Path, tmp_path: Path) -> None:
    adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9})))
    params = yaml.safe_load((checkout / "params.yaml").read_text())
    assert params["base"]["caption"] == params["class_images"]["prompt"] == "a photo of a leaf"
    assert params["concepts"]["few"]["instance_prompt"] == "a photo of a zwa leaf"


def test_adopt_keeps_the_comments_of_the_preset(checkout: Path, tmp_path: Path) -> None:
    adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9})))
    preset, params = ((checkout / name).read_text() for name in ("presets/photos-cpu.yaml", "params.yaml"))
    kept = preset.split("phantom:")[0] + preset.split("\nprepare:")[1]
    assert [line for line in kept.splitlines() if line.startswith("# ")] == [
        line for line in params.splitlines() if line.startswith("# ")
    ]


def test_adopt_writes_params_as_dvc_does(checkout: Path, tmp_path: Path) -> None:
    adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9})))
    text = (checkout / "params.yaml").read_text()
    apply_overrides(checkout / "params.yaml", ["split.fold=0"])
    assert (checkout / "params.yaml").read_text() == text


def test_adopt_takes_the_order_of_the_scores(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "leaves", {"low": 9, "mid": 5, "high": 5})
    adopt(str(photos), "--classes", "low,mid,high")
    assert yaml.safe_load((checkout / "params.yaml").read_text())["classes"] == ["low", "mid", "high"]


def test_adopting_the_phantom_keeps_its_section_and_stage(checkout: Path) -> None:
    make_photos(checkout / "data" / "phantom", {"score_1": 5, "score_2": 9})
    cli.main(["adopt", "data/phantom", "--preset", "current"])
    params, graph = (yaml.safe_load((checkout / name).read_text()) for name in ("params.yaml", "dvc.yaml"))
    assert "phantom" in params and "phantom" in graph["stages"]


def test_adopt_teats_adds_the_stage_that_unpacks_them(checkout: Path) -> None:
    cli.main(["adopt", "--preset", "teats"])
    graph = yaml.safe_load((checkout / "dvc.yaml").read_text())
    assert graph["stages"]["teats"]["outs"] == ["data/teats"]
    assert yaml.safe_load((checkout / "params.yaml").read_text())["prepare"]["raw"] == "data/teats"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"only": 9}, "1 class folders, need at least 2"),
        ({"few": 2, "many": 9}, r"few: 2 photos, need at least 5; leave the class out with --drop few, .*photos-cpu"),
        ({"none": 0, "many": 9}, r"none: no photos"),
        ({"same": 6, "other": 6}, "nothing to balance"),
        ({"alike": 9, "other": 10}, r"all classes have 9 to 10 photos; nothing to balance with --rare-below 0.8"),
    ],
)
def test_adopt_refuses_what_cannot_work_and_writes_nothing(
    checkout: Path, tmp_path: Path, counts: dict[str, int], message: str
) -> None:
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(SystemExit, match=message):
        adopt(str(make_photos(tmp_path / "photos", counts)))
    assert (checkout / "params.yaml").read_bytes() == before


@pytest.mark.usefixtures("checkout")
def test_adopt_refuses_a_folder_that_is_not_there() -> None:
    with pytest.raises(SystemExit, match="nowhere: no such folder"):
        cli.main(["adopt", "nowhere"])


@pytest.mark.usefixtures("checkout")
def test_adopt_refuses_an_unknown_preset() -> None:
    with pytest.raises(SystemExit, match="choose from current, arms, paper, photos-cpu, sctl, teats"):
        cli.main(["adopt", "anything", "--preset", "huge"])


def test_adopt_overwrites_no_change_that_is_not_in_git(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "leaves", {"few": 5, "many": 9})
    with (checkout / "params.yaml").open("a") as stream:
        stream.write("# mine\n")
    with pytest.raises(SystemExit, match=r"params.yaml: has uncommitted changes"):
        adopt(str(photos))
    assert (checkout / "params.yaml").read_text().endswith("# mine\n")


def test_the_graph_of_the_default_study_is_left_as_it_is_by_its_own_classes() -> None:
    graph = adopted_graph(ROOT / "dvc.yaml", ["score_1", "score_3", "score_4"], is_phantom=True, is_teats=False)
    assert yaml.safe_load(graph) == yaml.safe_load((ROOT / "dvc.yaml").read_text())


def test_an_arm_brings_its_stages_and_takes_them_along(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (checkout / "dvc.yaml").read_text()
    shutil.copy(checkout / "presets" / "arms.yaml", checkout / "params.yaml")
    cli.main(["stages"])
    stages = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]
    names = list(stages)
    assert names.index("synthesize") < names.index("filter") < names.index("split") == names.index("reconstruct") + 1
    assert {"data/filter.csv", "data/reconstructed"} <= set(stages["split"]["deps"])
    assert "metrics/filter.json" in stages["report"]["deps"]
    require_stages(check_study(read_params(checkout), PARAMS), PARAMS, checkout / "dvc.yaml")
    assert "with filter and reconstruct" in capsys.readouterr().out
    shutil.copy(ROOT / "params.yaml", checkout / "params.yaml")
    cli.main(["stages"])
    assert (checkout / "dvc.yaml").read_text() == before


def test_a_stage_can_be_had_before_an_arm_uses_it(checkout: Path) -> None:
    cli.main(["stages", "filter"])
    stages = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]
    assert "filter" in stages and "reconstruct" not in stages
    with pytest.raises(SystemExit, match=r"stages: nothing: no such stage; choose from filter, reconstruct"):
        cli.main(["stages", "nothing"])


def test_an_arm_of_one_number_gives_the_largest_class_a_generator(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "leaves", {"few": 5, "many": 9})
    adopt(str(photos), "--preset", "arms")
    params, graph = (yaml.safe_load((checkout / name).read_text()) for name in ("params.yaml", "dvc.yaml"))
    assert params["concepts"]["many"]["instance_prompt"] == "a photo of a zwb leaf"
    for stage in ("audit_images", "split", "fidelity", "report"):
        listed = [dep for dep in graph["stages"][stage]["deps"] if dep.startswith("data/synthetic/")]
        assert listed == ["data/synthetic/few", "data/synthetic/many"]


def test_arms_of_own_photos_have_no_oracle(checkout: Path, tmp_path: Path) -> None:
    adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9})), "--preset", "arms")
    params, graph = (yaml.safe_load((checkout / name).read_text()) for name in ("params.yaml", "dvc.yaml"))
    assert "oracle" not in params["datasets"] and "shuffled" in params["datasets"]
    assert "phantom" not in graph["stages"]["split"]["params"]


def read_params(checkout: Path) -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((checkout / "params.yaml").read_text())
    return params


def test_class_names_of_any_kind_get_safe_ids(checkout: Path, tmp_path: Path) -> None:
    adopt(str(make_photos(tmp_path / "brains", {"Mild Dementia": 5, "Non-Demented": 9, "Ärger": 5})))
    params = read_params(checkout)
    assert params["classes"] == ["mild_dementia", "non_demented", "arger"]
    assert params["prepare"]["class_names"] == {
        "mild_dementia": "Mild Dementia",
        "non_demented": "Non-Demented",
        "arger": "Ärger",
    }


def test_folders_of_train_validation_and_test_are_taken_in_any_case(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, counts in (("Training", (5, 9)), ("Valid", (2, 3)), ("Testing", (2, 3))):
        make_photos(tmp_path / "set" / part, dict(zip(("few", "many"), counts, strict=True)))
    adopt(str(tmp_path / "set"))
    assert read_params(checkout)["prepare"]["split"] == "given"
    assert "train  val  test" in capsys.readouterr().out


def test_without_a_test_set_all_photos_are_pooled(checkout: Path, tmp_path: Path) -> None:
    for part, counts in (("train", (2, 9)), ("val", (3, 3))):
        make_photos(tmp_path / "set" / part, dict(zip(("few", "many"), counts, strict=True)))
    adopt(str(tmp_path / "set"))
    assert read_params(checkout)["prepare"]["split"] == "made"


def test_a_class_is_left_out_on_demand(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "leaves", {"Tiny One": 1, "few": 5, "many": 9})
    adopt(str(photos), "--drop", "tiny_one")
    params = read_params(checkout)
    assert params["classes"] == ["few", "many"] and params["prepare"]["left_out"] == ["Tiny One"]


@pytest.mark.usefixtures("checkout")
def test_a_class_to_leave_out_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--drop none: no such folder; .* contains few, many"):
        adopt(str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9})), "--drop", "none")


@pytest.mark.parametrize(("options", "rare"), [([], ["few"]), (["--rare-below", "1"], ["few", "more"])])
def test_a_class_that_lacks_little_is_not_rare(
    checkout: Path, tmp_path: Path, options: list[str], rare: list[str]
) -> None:
    photos = make_photos(tmp_path / "leaves", {"few": 5, "many": 20, "more": 19})
    adopt(str(photos), *options)
    assert list(read_params(checkout)["concepts"]) == rare


def pack(folder: Path, archive: Path) -> Path:
    shutil.make_archive(str(archive.with_suffix("")), archive.suffix[1:], folder.parent, folder.name)
    return archive


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_an_archive_is_unpacked_and_its_only_folder_opened(checkout: Path, tmp_path: Path, suffix: str) -> None:
    photos = make_photos(tmp_path / "leaves", {"few": 5, "many": 9})
    (photos / "few/.DS_Store").touch()
    (photos / "notes.txt").touch()
    adopt(str(pack(photos, tmp_path / f"set{suffix}")))
    assert read_params(checkout)["prepare"]["raw"] == "data/raw/set/leaves"
    assert len([path for path in (checkout / "data/raw/set").rglob("*") if path.is_file()]) == 14


def test_what_was_unpacked_is_gone_if_the_photos_do_not_fit(checkout: Path, tmp_path: Path) -> None:
    archive = pack(make_photos(tmp_path / "leaves", {"only": 9}), tmp_path / "set.zip")
    with pytest.raises(SystemExit, match="1 class folders, need at least 2"):
        adopt(str(archive))
    assert not list((checkout / "data/raw").iterdir())


def test_an_archive_replaces_no_folder(checkout: Path, tmp_path: Path) -> None:
    archive = pack(make_photos(tmp_path / "leaves", {"few": 5, "many": 9}), tmp_path / "set.zip")
    (checkout / "data/raw/set").mkdir(parents=True)
    with pytest.raises(SystemExit, match="data/raw/set: exists; adopt that folder, .* --unpack-to"):
        adopt(str(archive))
    adopt(str(archive), "--unpack-to", "data/raw/other")
    assert read_params(checkout)["prepare"]["raw"] == "data/raw/other/leaves"


@pytest.mark.usefixtures("checkout")
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no archive")
    with pytest.raises(SystemExit, match="notes.txt: neither a folder nor a zip or tar archive"):
        adopt(str(tmp_path / "notes.txt"))


def test_batches_fit_few_photos(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adopt(make_photos(tmp_path / "leaves", {"few": 6, "many": 12}))
    assert "recipe.batch_size: 8 instead of 16: only about 10 photos" in capsys.readouterr().out
    assert read_params(checkout)["recipe"]["batch_size"] == 8


@pytest.mark.usefixtures("checkout")
def test_subject_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--subject: what do the photos show"):
        cli.main(["adopt", str(make_photos(tmp_path / "leaves", {"few": 5, "many": 9}))])


@pytest.mark.parametrize(
    ("subject", "caption", "prompt"),
    [
        ("a photo of a leaf", "a photo of a leaf", "a photo of a zwa leaf"),
        ("An  apple", "a photo of an apple", "a photo of a zwa apple"),
    ],
)
def test_words_of_the_subject_are_not_doubled(
    checkout: Path, tmp_path: Path, subject: str, caption: str, prompt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["adopt", str(make_photos(tmp_path / "set", {"few": 5, "many": 9})), "--subject", subject])
    params = read_params(checkout)
    assert params["base"]["caption"] == caption and params["concepts"]["few"]["instance_prompt"] == prompt
    assert f"  {prompt} (few)" in capsys.readouterr().out


def test_classes_that_a_mirror_swaps_are_asked_about(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "arrows", {"turn Left": 5, "turn right": 9})
    with pytest.raises(SystemExit, match="turn Left and turn right: does a mirrored photo .* --no-flip"):
        adopt(photos)
    adopt(photos, "--no-flip")
    params = read_params(checkout)
    flips = [params["base"], params["dreambooth"], params["arm"]["training"]]
    assert [section["flip_horizontal"] for section in flips] == [False] * 3
    assert not [arm for arm in params["datasets"].values() if "flip_horizontal" in arm["training"]]


def test_seventy_classes_have_tokens_of_their_own(checkout: Path, tmp_path: Path) -> None:
    adopt(make_photos(tmp_path / "signs", {f"sign {n}": 6 if n else 12 for n in range(70)}))
    prompts = [concept["instance_prompt"] for concept in read_params(checkout)["concepts"].values()]
    assert len(prompts) == len(set(prompts)) == 69


def test_equal_classes_are_taken_where_an_arm_needs_no_imbalance(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "leaves", {"one": 8, "other": 8})
    with pytest.raises(SystemExit, match="all classes have 8 photos; nothing to balance .* --preset arms"):
        adopt(photos)
    adopt(photos, "--preset", "arms")
    assert list(read_params(checkout)["concepts"]) == ["one", "other"]


def test_tables_of_labels_and_groups_are_dependencies(checkout: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, {"photos": 30})
    rows = [f"{n},{'few' if n < 10 else 'many'},p{n // 2}" for n in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,dx,patient", *rows]))
    options = ["--labels", tmp_path / "labels.csv", "--file-column", "id", "--label-column", "dx"]
    adopt(photos / "photos", *options, "--group-column", "patient")
    params, graph = (yaml.safe_load((checkout / name).read_text()) for name in ("params.yaml", "dvc.yaml"))
    assert params["prepare"]["labels"]["label_column"] == "dx" and params["classes"] == ["few", "many"]
    assert graph["stages"]["prepare"]["deps"][:2] == ["${prepare.raw}", str(tmp_path / "labels.csv")]


def test_groups_are_counted(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_photos(tmp_path / "leaves", {"few": 12, "many": 30})
    adopt(photos, "--group-pattern", r"(\d+)\d?\.png")
    assert "groups: 30, the largest with 2 photos" in capsys.readouterr().out
    subprocess.run(["git", "checkout", "-q", "."], cwd=checkout, check=True)
    with pytest.raises(SystemExit, match=r"finds no group in few/0.png, few/1.png, .* and 39 more"):
        adopt(photos, "--group-pattern", "animal")


def test_photos_inside_the_checkout_stay_out_of_git(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_photos(checkout / "my photos [1]", {"few": 6, "many": 9})
    adopt("my photos [1]")
    assert "Git ignores my photos [1]/ from now on" in capsys.readouterr().out
    status = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, check=True)
    assert "photos" not in status.stdout


def test_photos_outside_the_checkout_change_no_gitignore(checkout: Path, tmp_path: Path) -> None:
    adopt(make_photos(tmp_path / "leaves", {"few": 6, "many": 9}))
    assert not (checkout / ".gitignore").exists()


def test_batches_that_grew_too_large_are_found_before_anything_slow(checkout: Path, tmp_path: Path) -> None:
    adopt(make_photos(tmp_path / "leaves", {"few": 9, "many": 20}))
    study = check_study(read_params(checkout), Path("params.yaml"))
    require_batches(study, Path())
    apply_overrides("params.yaml", ["recipe.batch_size=24"])
    study = check_study(read_params(checkout), Path("params.yaml"))
    with pytest.raises(ValueError, match=r"classifiers.resnet18: batch_size 24, but about 16 photos are for training"):
        require_batches(study, Path())
