"""What is particular to Semantic Kernel."""
