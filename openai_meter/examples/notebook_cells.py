"""The cells of a notebook with their costs, run here as IPython runs them.

    python -m openai_meter.examples.notebook_cells

It needs ``pip install ipython``. In a notebook, write the cells below as they are.
"""

from IPython.core.interactiveshell import InteractiveShell

from openai_meter.testing.fake_api.server import DemoServer

CELLS = (
    "%load_ext openai_meter",
    "from openai import OpenAI\nclient = OpenAI(base_url=BASE_URL, api_key='demo')",
    "%%meter\nclient.responses.create(model='gpt-6-luna', input='What is paper for?')",
    "%meter",
)


def main() -> None:
    """Runs the cells; `%%meter` shows what a cell has cost, `%meter` what the session has cost."""
    shell = InteractiveShell.instance()
    with DemoServer() as api:
        shell.push({"BASE_URL": api.base_url})
        shell.run_cell("import openai_meter; openai_meter.install(hosts={'127.0.0.1': 'openai'})")
        for cell in CELLS:
            print(f"In: {cell}")
            shell.run_cell(cell).raise_error()


if __name__ == "__main__":
    main()
