"""The page of the report: what it holds, in which order, that it needs nothing else, and that names are only names."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from studies import AUDIT, CHECK, PREPARED, inputs_of, report, write_letter, write_pairs, write_study
from test_results import CLASSES, DATASETS, MODELS, read, write_runs

from sdaug.common.synthetic import read_synthetic
from sdaug.verdict.closest import Pair
from sdaug.verdict.conclusions import Conclusion
from sdaug.verdict.decide import Verdict, decide
from sdaug.verdict.exchange import Exchange
from sdaug.verdict.external_summary import Strip
from sdaug.verdict.page import Page, Picture, render_page
from sdaug.verdict.pictures import CAPTIONS, draw_all
from sdaug.verdict.render import render_markdown, render_text, render_verdict
from sdaug.verdict.result_tables import published_table
from sdaug.verdict.results import BASELINE, Study
from sdaug.verdict.steps import Example
from sdaug.verdict.table import Table
from sdaug.verdict.thumbnails import Gallery, data_uri, thumbnail

PIXEL = "data:image/png;base64,AAAA"


def read_page(root: Path) -> str:
    return (root / "report" / "index.html").read_text()


def test_page_holds_every_picture_but_the_images_which_it_shows_one_by_one(study_dir: Path) -> None:
    html = read_page(study_dir)
    missing = [file for file in CAPTIONS if data_uri(study_dir / "report" / file) not in html]
    assert missing == ["images.png"]


def test_page_loads_nothing_from_anywhere(study_dir: Path) -> None:
    html = read_page(study_dir)
    assert re.findall(r"<(?:script|iframe|object|embed|video|audio)\b|url\(|@import|srcset", html) == []
    sources = re.findall(r"""\bsrc=["']?([^"'>]{5})""", html)
    assert len(sources) > 20 and set(sources) == {"data:"}
    links = re.findall(r"<link[^>]*>", html)
    assert links == ['<link rel="icon" href="data:,">']


def test_links_of_the_page_lead_to_its_own_sections_or_the_checklists(study_dir: Path) -> None:
    html = read_page(study_dir)
    targets = set(re.findall(r'<a href="([^"]*)"', html))
    ids = re.findall(r'<section id="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {target for target in targets if target.startswith("#")} == {f"#{name}" for name in ids}
    assert {target for target in targets if not target.startswith("#")} == {
        "https://doi.org/10.1126/sciadv.adk3452",
        "https://doi.org/10.1148/ryai.240300",
    }


def test_page_starts_with_the_verdict_and_the_forest_and_ends_with_the_checklist(study_dir: Path) -> None:
    html = read_page(study_dir)
    order = [
        "verdict",
        "limits",
        "images",
        "scores",
        "confusion",
        "curves",
        "mistakes",
        "audit",
        "settings",
        "checklist",
    ]
    assert re.findall(r'<section id="([^"]*)"', html) == order
    verdict, limits = html.index('<section id="verdict"'), html.index('<section id="limits"')
    assert verdict < html.index(data_uri(study_dir / "report" / "forest.png")) < limits


def test_page_holds_all_settings(study_dir: Path) -> None:
    match = re.search(r"<pre[^>]*>(.*?)</pre>", read_page(study_dir), re.DOTALL)
    assert match is not None
    assert yaml.safe_load(unescape(match[1])) == yaml.safe_load((study_dir / "params.yaml").read_text())


def test_page_shows_the_metrics_of_earlier_stages(study_dir: Path) -> None:
    html = (study_dir / "report" / "index.html").read_text()
    assert "prepare.num_ignored</td><td>7<" in html and "vae.squared_error</td><td>0.5<" in html


def test_closest_pairs_are_shown_beside_each_other_if_they_are_given(own_study_dir: Path) -> None:
    write_pairs(own_study_dir)
    report(own_study_dir, "--closest-pairs", "metrics/closest_pairs.csv")
    html = read_page(own_study_dir)
    (section,) = re.findall(r'<section id="closest">(.*?)</section>', html, re.DOTALL)
    *_, last = read_synthetic(own_study_dir / "synthetic" / "score_3")
    generated, photo = re.findall(r'src="([^"]*)"', section)[:2]
    assert generated == thumbnail(own_study_dir / "synthetic" / "score_3" / last.file_name)
    assert photo == thumbnail(own_study_dir / "prepared" / "images" / "train010.png")
    assert section.count('class="pair"') == 5 and "ratio 0.81, draw 1" in section and "copy</strong>" not in section


def test_copies_are_called_so(own_study_dir: Path) -> None:
    write_pairs(own_study_dir, is_copy="1")
    report(own_study_dir, "--closest-pairs", "metrics/closest_pairs.csv")
    assert read_page(own_study_dir).count("<strong>counts as a copy<") == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"photo": "gone"}, "image gone: no such file"), ({"ratio": "far"}, "ratio 'far': not a number")],
)
def test_pairs_that_cannot_be_shown_are_refused(own_study_dir: Path, changes: dict[str, str], message: str) -> None:
    write_pairs(own_study_dir, **changes)
    with pytest.raises(SystemExit, match=rf"closest_pairs.csv: {message}.*dvc repro fidelity"):
        report(own_study_dir, "--closest-pairs", "metrics/closest_pairs.csv")


def test_many_findings_are_folded_and_none_is_lost(tmp_path: Path) -> None:
    write_runs(tmp_path)
    study = read(tmp_path)
    details = {}
    for copies in (4, 6):
        html = page_of(replace(study, contrasts=study.contrasts[:1] * copies))
        assert html.count('class="finding"') == copies
        details[copies] = html.count("<details>")
    assert "2 further comparisons" in html and details[6] == details[4] + 1


def hostile(text: str) -> str:
    """A name that would break out of tags, attributes, formulas and legends."""
    return f"""_"><img src=x onerror='alert(1)'>&amp;$\\frac{{{text}}}$ {{{{ 7*7 }}}}"""


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A copy with each of these strings replaced by another, wherever it stands as a whole."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {renamed(key, names): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(renamed(item, names) for item in value) if not hasattr(value, "_fields") else value
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{field.name: renamed(getattr(value, field.name), names) for field in fields(value)})
    return value


def page_of(study: Study) -> str:
    """A page with every section, in the names of this study."""
    name = study.classes[0]
    params = {"classifiers": {model: {} for model in study.models}, "prepare": {"raw": name, "group_pattern": name}}
    verdict = decide(inputs_of(study, params=params, generated={name: [Path("a.png")]}))
    return page_with(replace(verdict, tables=(*verdict.tables, published_table(study))))


def page_with(verdict: Verdict) -> str:
    """A page with every section, that shows this verdict."""
    name = verdict.study.classes[0]
    pair = Pair(label=name, draw="0", ratio=0.5, is_copy=True, synthetic=PIXEL, photo=PIXEL)
    page = Page(
        verdict=verdict,
        protocol="clean",
        pictures={file: Picture(uri=PIXEL, caption=name) for file in (*CAPTIONS, "dose.png")},
        galleries=[Gallery(label=label, photos=(PIXEL,), generated=(PIXEL,)) for label in verdict.study.classes],
        imported={name: [Strip(source=name, num_images=1, images=((PIXEL, name),))]},
        photos=dict.fromkeys(verdict.mistakes.ids, PIXEL),
        closest={name: [pair]},
        settings=name,
        metrics={name: name},
    )
    return render_page(page)


def test_every_form_shows_the_verdict_that_was_decided_and_no_other(tmp_path: Path) -> None:
    write_runs(tmp_path)
    decided = decide(inputs_of(read(tmp_path)))
    exchange = Exchange(arm="more", against=("true",), rate=0.25, interval=None, further={}, is_linear=True)
    finding = Conclusion(subject="more against less", effect="harms", detail="By a lot.")
    table = Table(title="Decided", note="Once.", header=("a", "b"), rows=(("1", "2"),), num_names=1)
    verdict = replace(
        decided,
        conclusions=(finding,),
        exchange=exchange,
        limits=("Nobody looked.",),
        pooled=table,
        tables=(table,),
        audit=replace(table, title="Sound"),
    )
    forms = [render_verdict(verdict), render_markdown(verdict), page_with(verdict)]
    for said in ("more against less:", "harms", "By a lot.", exchange.sentence, "Nobody looked."):
        assert [said in form for form in forms] == [True, True, True]
    assert render_text(verdict) == f"Decided. Once.\n\na  b\n1  2\n\n{finding.sentence}\n\n{exchange.sentence}\n"
    assert [form.count("Sound") for form in forms] == [0, 1, 1]
    for form in forms:
        assert not any(other.effect in form for other in decided.conclusions) and decided.limits[0] not in form


class Structure(HTMLParser):
    """The tags of a page with the names of their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_names_do_not_change_the_structure_of_the_page(tmp_path: Path) -> None:
    write_runs(tmp_path)
    study = read(tmp_path)
    # Both studies have new names, since the report knows some of the old ones. The baseline keeps its own.
    old = [name for name in (*CLASSES, *MODELS, *DATASETS) if name != BASELINE]
    names = {name: hostile(name) for name in old}
    plain = Structure(page_of(renamed(study, {name: f"new_{name}" for name in old})))
    named = Structure(page_of(renamed(study, names)))
    assert len(plain.tags) > 200 and named.tags == plain.tags
    text = "".join(named.text)
    assert [name for name in names.values() if name not in text] == []


def test_pictures_take_names_for_names(tmp_path: Path) -> None:
    """A pair of dollar signs is no formula to matplotlib, which would refuse this one."""
    write_study(tmp_path)
    images = sorted((tmp_path / "prepared" / "images").iterdir())[:2]
    study = renamed(read(tmp_path / "metrics"), {name: f"_$\\frac{{{name}$" for name in (*CLASSES, *MODELS, *DATASETS)})
    doses, label = {float(n): arm for n, arm in enumerate(study.datasets)}, study.classes[0]
    example = Example(photo=images[0], reconstructed=images[0], base=images[1], dreambooth=images[1])
    draw_all(tmp_path, study, photos={label: images}, generated={}, examples={label: [example]}, doses=doses)
    assert {path.name for path in tmp_path.glob("*.png")} == {*CAPTIONS, "dose.png"}


def test_readers_see_the_names_of_classes_and_programs_their_ids(own_study_dir: Path) -> None:
    params = yaml.safe_load((own_study_dir / "params.yaml").read_text())
    params["prepare"]["class_names"] = {"score_1": "Mild <b>Dementia</b>"}
    (own_study_dir / "params.yaml").write_text(yaml.safe_dump(params))
    metrics_dir = own_study_dir / "metrics"
    prepared = replace(
        PREPARED,
        duplicates={"test.score_1": 2, "score_1": 1},
        broken_of_class={"train.score_1": 1},
        unread=["score_1: 4 .txt"],
    )
    write_letter(metrics_dir, prepared)
    dropped = replace(
        CHECK, compared="exact copies that prepare dropped: 2 of test.score_1, 1 of score_1, 3 of score_11"
    )
    write_letter(metrics_dir, replace(AUDIT, checks={"dropped_copies": dropped}))
    report(own_study_dir)
    html = read_page(own_study_dir)
    assert "<h3>Mild &lt;b&gt;Dementia&lt;/b&gt;</h3>" in html and "<h3>score_1</h3>" not in html
    assert "score_1" in (own_study_dir / "report" / "confusion.csv").read_text()
    name = "Mild &lt;b&gt;Dementia&lt;/b&gt;"
    assert f"3 exact copies (2 test.{name}, 1 {name}), 1 unreadable photos (1 train.{name})" in html
    assert f"prepare dropped: 2 of test.{name}, 1 of {name}, 3 of score_11" in html
    metrics = html[html.index("Metrics of earlier stages") :]
    for line in (f"prepare.train.{name}</td><td>5", f"prepare.duplicates.test.{name}</td><td>2", f"{name}: 4 .txt"):
        assert line in metrics
    assert re.findall(r"\bscore_1\b", metrics) == []
