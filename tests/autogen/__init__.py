"""AutoGen's adapter beyond what every adapter must do."""
