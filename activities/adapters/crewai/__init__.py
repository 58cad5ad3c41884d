"""CrewAI crews, one task at a time.

`definition` judges and plans without CrewAI; everything else here imports it and belongs in worker processes only.
"""
