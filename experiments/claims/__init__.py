"""The paper's claims, and what the kept records say about each."""
