"""What several tests share: servers and builders that behave like the real parts."""
