"""The workflow: what its histories hold, what people see of it, and that old histories replay."""
