"""AutoGen teams, one turn at a time.

`definition` judges and plans without AutoGen; `runtime`, `build`, `clients` and `tools` import it and belong in worker
processes only.
"""
