"""What the study found: tables, pictures and the page."""
