"""What a definition promises of its steps: conditions, schemas of outputs, approvals, handoffs. Pure, for every framework.

`reading` takes the sections apart, `problems` judges them when they arrive, `evaluation` holds them against one step.
"""
