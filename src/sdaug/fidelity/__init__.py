"""Stage `fidelity`: do synthetic images look like their class?"""
