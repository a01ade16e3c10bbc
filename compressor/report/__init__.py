"""A finished run, told as one page: report.html and report.md."""
