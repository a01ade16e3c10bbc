import importlib.resources


def test_template_style_and_script_are_part_of_the_package():
    folder = importlib.resources.files("compressor.report")

    assert folder.joinpath("page.html").is_file()
    assert folder.joinpath("page.css").is_file()
    assert folder.joinpath("page.js").is_file()
