"""The stage phantom: simulated photos of teat ends."""
