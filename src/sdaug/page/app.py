"""The page itself: its tabs, put together."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from sdaug.page.browse_tab import BrowseTab
from sdaug.page.draw_tab import DrawTab
from sdaug.page.jobs import Jobs
from sdaug.page.orders import Artist
from sdaug.page.predict_tab import PredictTab
from sdaug.page.study_folder import StudyFolder
from sdaug.page.study_tab import StudyTab


def build_page(folder: StudyFolder, scratch: Path, plan: Callable[[str], str]) -> gr.Blocks:
    """All tabs; `scratch` is a folder for what the page writes."""
    jobs = Jobs(Artist(folder))

    def stop(request: gr.Request) -> None:
        jobs.stop(request.session_hash)

    with gr.Blocks(title="sdaug", analytics_enabled=False, fill_width=True) as page:
        draw = DrawTab(folder, jobs, scratch)
        browse = BrowseTab(folder, jobs, draw, scratch)
        predict, study = PredictTab(folder), StudyTab(folder, plan)
        with gr.Tabs():
            for name, tab in (("Draw", draw), ("Browse", browse), ("Predict", predict), ("Study", study)):
                with gr.Tab(name):
                    tab.build()
        shown = [browse.filters[0], browse.label, browse.order, browse.said, browse.table]
        for refresh, inputs, outputs in (
            (draw.refresh, None, draw.model),
            (browse.refresh, browse.filters, shown),
            (predict.refresh, None, [predict.first, predict.second]),
            (study.refresh, None, study.report),
        ):
            page.load(refresh, inputs, outputs, show_progress="hidden", api_visibility="private")
        page.unload(stop)
    return page
