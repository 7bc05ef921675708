"""The stages split and holdout: what each data set is made of."""
