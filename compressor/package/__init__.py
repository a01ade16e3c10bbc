"""The slim package: one folder that holds a stripped network and the means to check it."""

from compressor.package.load import Package, read

__all__ = ["Package", "read"]
