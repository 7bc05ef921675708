"""The `sdaug` command line and what runs the stages: parallel runs and warm starts."""
