"""Stage `filter`: what a judge of training photos thinks of each synthetic image."""
