"""The verdict of a study: decided once, for all who show it as text, in Markdown, on the page and as a summary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdaug.verdict.checklist import Item, build_checklist
from sdaug.verdict.conclusions import Conclusion, find_conclusions
from sdaug.verdict.exchange import Exchange, find_exchange
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.limits import find_limits
from sdaug.verdict.mistakes import Mistakes, find_mistakes
from sdaug.verdict.names import with_names
from sdaug.verdict.result_tables import pooled_table, result_tables
from sdaug.verdict.results import Study
from sdaug.verdict.siblings import sibling_scores
from sdaug.verdict.stage_tables import audit_table, fidelity_tables, filter_tables
from sdaug.verdict.summary import summarize
from sdaug.verdict.table import Table
from sdaug.verdict.transductive import sentence_of, transductive_summary, transductive_tables


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a study says, in the names of classes that readers see.

    `pooled` are the differences that the conclusions rest on, if there are any; `tables` all results, the comparison
    first, and what other stages found; `transductive` those of classifiers that saw the test photos, of which no other
    part tells. `summary` is for programs and has the ids of classes.
    """

    study: Study
    conclusions: tuple[Conclusion, ...]
    exchange: Exchange | None
    limits: tuple[str, ...]
    pooled: Table | None
    tables: tuple[Table, ...]
    transductive: tuple[Table, ...]
    audit: Table
    mistakes: Mistakes
    checklist: tuple[Item, ...]
    summary: Mapping[str, Any]

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each conclusion, and one on what a generated image is worth if that was asked."""
        worth = (self.exchange.sentence,) if self.exchange else ()
        return *(conclusion.sentence for conclusion in self.conclusions), *worth


def decide(inputs: Inputs) -> Verdict:
    """The verdict on a study, from all that its stages wrote."""
    shown = with_names(inputs)
    study, siblings = shown.study, sibling_scores(shown.photos, shown.study.classes)
    results = result_tables(shown, siblings)
    apart = transductive_summary(inputs.transductive, inputs.study, inputs.twins)
    return Verdict(
        study=study,
        conclusions=find_conclusions(study),
        exchange=find_exchange(study, shown.arms),
        limits=find_limits(shown, siblings),
        pooled=pooled_table(study) if study.contrasts else None,
        tables=(*results, *fidelity_tables(shown.fidelity), *filter_tables(shown.filter, shown.arms)),
        transductive=transductive_tables(shown.transductive, study, shown.twins),
        audit=audit_table(shown.checks, shown.audit.label_errors, sentence_of(shown.transductive)),
        mistakes=find_mistakes(study),
        checklist=build_checklist(shown),
        summary=summarize(inputs.study) | apart | {"test_set": inputs.test_set},
    )
