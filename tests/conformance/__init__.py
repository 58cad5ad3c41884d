"""What every adapter must do, proved on each of them by the same tests."""
