import importlib.resources
import subprocess
import sys


def test_template_and_style_are_part_of_the_package():
    folder = importlib.resources.files("compressor.report")

    assert folder.joinpath("page.html").is_file()
    assert folder.joinpath("page.css").is_file()


def test_importing_the_report_does_not_import_the_plots():
    program = "import compressor.report.write, sys; sys.exit('plotly' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
