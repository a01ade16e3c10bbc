"""Whether a package is as made, without pickles and foreign code; nothing of it is executed."""

from pathlib import Path

from compressor.errors import CheckError
from compressor.package.archive import unplain_in
from compressor.package.graph import check_text
from compressor.package.manifest import PROGRAM, check_files, names_in
from compressor.package.pickles import pickles_in


def check_package(folder: Path) -> int:
    """How many files are as packaged, none with a pickle in it; nothing is executed.

    The program is held to what torch writes of a plain network, text by text.

    Raises:
        CheckError: Names the file that is not so.
        ModelError: The package is of another release.
    """
    files = check_files(folder)
    for name in names_in(folder):
        # Torch is given the program and unpickles parts of it; nothing else is ever unpickled.
        found = unplain_in(folder / name) if name == PROGRAM else pickles_in(folder / name)
        if found:
            raise CheckError(
                f"{folder}: {found[0]} holds a pickle or may hold one, which may run any code when "
                "it is read. Do not use this package."
            )
        if name == PROGRAM:
            check_text(folder / name)
    return files
