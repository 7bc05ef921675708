"""Stage `phantom`: simulated photos of teat ends."""
