"""Stage `synthesize`: synthetic images and their manifest."""
