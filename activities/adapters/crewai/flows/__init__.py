"""CrewAI's declarative flows (`crewai.flow/v1`), each run as one long step.

`definition` judges, plans and edits without CrewAI; `runtime` and `acting` import it and belong in worker processes only.
"""
