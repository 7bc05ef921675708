"""The report stage: results, tables, pictures and the page."""
