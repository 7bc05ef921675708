"""The stage check: the whole of params.yaml."""
