"""The report: a study as one HTML file that opens offline. Read page.py; one small file per part."""
