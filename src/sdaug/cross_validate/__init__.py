"""Stage `cross_validate`: the whole study on further validation folds."""
