"""How good a trained family is: one suite a stage; each figure has an interval, an n and a baseline."""
