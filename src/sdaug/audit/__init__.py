"""Stage `audit`: leaks and faults of the data, found before any classifier trains."""
