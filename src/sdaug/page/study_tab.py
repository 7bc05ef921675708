"""The tab of the study: its report as it stands, the plan of a larger one, and where training runs are shown."""

from collections.abc import Callable

import gradio as gr

from sdaug.page.messages import told
from sdaug.page.study_folder import StudyFolder

MLFLOW = "mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000"


class StudyTab:
    """The tab; the report is a file that `dvc repro` writes, and nothing of it is computed here."""

    def __init__(self, folder: StudyFolder, plan: Callable[[str], str]) -> None:
        """`plan` is what `sdaug plan` prints with some options."""
        self.folder, self._make_plan = folder, plan

    def build(self) -> None:
        """Lay out the tab, inside a `gr.Blocks`."""
        self.report = gr.HTML(self.refresh(), elem_id="report")
        with gr.Accordion("Plan: how many test photos, draws and seeds a study needs", open=False):
            options = gr.Textbox(label="Options of `sdaug plan`", placeholder="--draws 3 5 10 --effect 5", value="")
            ask = gr.Button("Plan")
            answer = gr.Textbox(label="Plan", lines=12, max_lines=40, interactive=False, elem_classes="plan")
        with gr.Accordion("Training runs in MLflow", open=False):
            gr.Markdown(
                f"Curves and pictures of all training runs: `make ui`, or\n\n```bash\n{MLFLOW}\n```\n\nthen "
                "[open it](http://127.0.0.1:5000)."
            )
        ask.click(self._plan, options, answer, api_visibility="private")
        options.submit(self._plan, options, answer, api_visibility="private")

    def refresh(self) -> str:
        """The report in a frame, or how to make it."""
        if not (self.folder.report / "index.html").is_file():
            return "<p class='status'>No report yet: <code>dvc repro</code>, or <code>make repro</code>, makes it.</p>"
        return (
            "<p class='status'><a href='/report/index.html' target='_blank'>The report on a page of its own</a></p>"
            "<iframe class='report' src='/report/index.html' title='report'></iframe>"
        )

    def _plan(self, options: str) -> str:
        with told():
            return self._make_plan(options)
